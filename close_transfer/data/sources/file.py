"""Captions of your own in a file: .txt (one per line), .jsonl, .json, .csv, .tsv (with a header), each also .gz; .parquet."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from close_transfer.config.data import FileData
from close_transfer.config.dataset import DatasetSettings
from close_transfer.core.errors import UserError
from close_transfer.core.packed_records import PackedRecords
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import key_field, read_lines
from close_transfer.core.readers.table_format import find_format
from close_transfer.data.example_kinds import ExampleKind
from close_transfer.data.examples import ImageRef
from close_transfer.data.sources.images import make_file_ref, make_unavailable_ref
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.own_examples import build_examples
from close_transfer.data.sources.own_rows import Row, append_row, check_columns, find_columns, parse_row

_SETTING = "data.path"


def _list_columns(data: FileData) -> list[str]:
    """Return the columns that are used, or a pattern for some of them such as `caption_*`."""
    columns = [data.text_column, data.group_column, data.image_column, data.id_column, data.references_column]
    named = [column for column in [*columns, data.target_column] if column is not None]
    return list(dict.fromkeys([*named, *find_columns(data.prompt)]))


def _read_rows(
    path: Path, data: FileData, labels: Sequence[str] = ()
) -> tuple[PackedRecords[Row], dict[int, str], Counter[str], str]:
    """Return the usable rows, the image files by row number, the number of skipped rows by reason, and a note."""
    kind, note = find_format(path, _SETTING, data.text_column)
    rows = PackedRecords(Row)
    images: dict[int, str] = {}
    place = "entry" if kind == ".json" else "line"
    faults = RecordErrors(path, data.on_bad_rows)
    for number, (line, record) in enumerate(read_lines(path, _SETTING, kind=kind, columns=_list_columns(data))):
        try:
            if data.image_column is not None:
                images[number] = key_field(record, data.image_column)
            row = parse_row(number, record, data, labels)
            # A test counts each image once, with all its captions, and no image is on both sides of a held-out share.
            if number in images and data.group_column is None:
                row = replace(row, image=images[number])
            append_row(rows, row)
        except RecordError as fault:
            faults.add(f"{place} {line}", fault)
    return rows, images, faults.settle(len(rows)), note


def _build_image_ref(number: int, image: str | None, folder: Path) -> ImageRef:
    if image is None:
        return make_unavailable_ref(
            f"row {number}",
            f"line {number + 1} names no image. Give data.image_column=NAME, the column with image files",
            number,
        )
    return make_file_ref(folder / image, image, number)


def load(data: FileData, kind: ExampleKind, split: str, joins_rows: bool) -> LoadedSplit:
    """Return the examples of one split; `train` and `val` share a file unless there is a `data.val_path`.

    With `split="test"` every row of `data.path` is used. `joins_rows` is that of `build_examples`.

    Raises:
        UserError: names file, line and field of unusable lines.
    """
    check_columns(data, kind)
    path = Path(data.val_path if split == "val" and data.val_path else data.path)
    rows, images, skipped, note = _read_rows(path, data, kind.labels)
    examples, notes = build_examples(
        rows,
        data,
        kind,
        lambda number: f"line {number + 1}",
        lambda number: _build_image_ref(number, images.get(number), path.parent),
        split if split in ("train", "val") and data.val_path is None else None,
        joins_rows,
    )
    return LoadedSplit(examples, skipped, [*filter(None, [note]), *notes])


def require_numbered_lines(data: DatasetSettings) -> FileData:
    """Return the data if it is a single file, whose line i belongs to row i of precomputed vectors.

    Raises:
        UserError: if it is not.
    """
    if not isinstance(data, FileData):
        raise UserError(
            f"clip=precomputed: row i of the vectors belongs to line i of a file, but data={data.name} is not one. Use data=file"
        )
    return data


def count_lines(data: FileData) -> int:
    """Return the number of rows of `data.path`, usable or not; row i of precomputed vectors belongs to line i."""
    kind, _ = find_format(Path(data.path), _SETTING, data.text_column)
    return sum(1 for _ in read_lines(Path(data.path), _SETTING, kind=kind, columns=_list_columns(data)))


def read_text_lines(data: FileData) -> list[str | None]:
    """Return the text of every row of `data.path`, for embeddings whose row i belongs to line i.

    A row that `data.on_bad_rows=skip` leaves out is None, so that later rows keep their embeddings.

    Raises:
        UserError: if a row holds several texts, or cannot be used and is not left out.
    """
    rows, _, skipped, _ = _read_rows(Path(data.path), data)
    for row in rows:
        if len(row.texts) != 1:
            raise UserError(
                f"{data.path}, line {row.number + 1}: field {data.text_column!r} holds {len(row.texts)} texts, "
                "but a row of clip.text_embeddings belongs to one text. Give data.text_column=NAME, the column of the embedded text"
            )
    texts: list[str | None] = [None] * (count_lines(data) if skipped else len(rows))
    for row in rows:
        texts[row.number] = row.texts[0]
    return texts
