"""Own captions from a file: .txt (a caption a line), .jsonl, .csv and .tsv (with a header), each also .gz."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from close_transfer.config import TableData
from close_transfer.errors import UserError
from close_transfer.examples import Example, ImageRef
from close_transfer.files import fingerprint
from close_transfer.sources.faults import Fault, Faults
from close_transfer.sources.images import image_file, no_image
from close_transfer.sources.loaded import Loaded
from close_transfer.sources.records import key_field, read_lines, texts_field

_SETTING = "data.path"


@dataclass(frozen=True)
class _Row:
    """One usable row: its number counted from 0 over all rows of the file, and what it says."""

    number: int
    texts: tuple[str, ...]
    group: str | None
    id: str | None
    image: str | None
    references: tuple[str, ...] | None


def _row(number: int, record: Any, data: TableData) -> _Row:
    group, name, image = (
        key_field(record, column) if column is not None else None
        for column in (data.group_column, data.id_column, data.image_column)
    )
    texts = texts_field(record, data.text_column)
    references = texts_field(record, data.references_column) if data.references_column else None
    return _Row(number, texts, group, name, image, references)


def _rows(path: Path, data: TableData) -> tuple[list[_Row], Counter[str]]:
    rows: list[_Row] = []
    faults = Faults(path, data.on_bad_rows)
    for number, (line, record) in enumerate(read_lines(path, _SETTING)):
        try:
            rows.append(_row(number, record, data))
        except Fault as fault:
            faults.add(f"line {line}", fault)
    return rows, faults.settle(len(rows))


def _image_ref(row: _Row, folder: Path) -> ImageRef:
    if row.image is None:
        return no_image(
            f"row {row.number}",
            f"line {row.number + 1} names no picture; give data.image_column=NAME of the column with image files",
            row.number,
        )
    return image_file(folder / row.image, row.image, row.number)


def _scenes(rows: list[_Row], path: Path) -> tuple[list[Example], int]:
    """Rows of one group become one example; also the number of repeated captions within scenes."""
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.group if row.group is not None else f"line {row.number + 1}", []).append(row)
    examples, num_repeated = [], 0
    for name, members in groups.items():
        told = [text for row in members for text in row.texts]
        texts = tuple(dict.fromkeys(told))
        num_repeated += len(told) - len(texts)
        # Of captions that annotators gave twice both count, as in the official scores; a list that every
        # row of a scene repeats counts once.
        lists = dict.fromkeys(row.references for row in members if row.references is not None)
        references = tuple(text for told in lists for text in told) or texts
        image = _image_ref(members[0], path.parent)
        examples.append(Example(members[0].id or name, texts, image, references=references))
    return examples, num_repeated


def held_out(ids: Sequence[str], share: float) -> set[str]:
    """The scenes kept for validation, chosen by a hash of the id, so that more rows move few."""
    ordered = sorted(ids, key=lambda one: fingerprint(["validation", one]))
    return set(ordered[: max(1, round(share * len(ordered)))])


def load(data: TableData, task: str, split: str) -> Loaded:
    """Scenes of one split: `train` and `val` share a file unless there is a `data.val_path`.

    With `split="test"` every row of `data.path` is used.

    Raises:
        UserError: naming file, line and field of what cannot be used.
    """
    path = Path(data.val_path if split == "val" and data.val_path else data.path)
    rows, skipped = _rows(path, data)
    examples, num_repeated = _scenes(rows, path)
    notes = [f"{num_repeated} captions repeated within their scene are used once"] if num_repeated else []
    if split in ("train", "val") and data.val_path is None:
        kept_back = held_out([e.id for e in examples], data.val_share)
        if len(examples) == 1:
            notes.append("there is one scene only, so validation sees the training text")
        else:
            examples = [e for e in examples if (e.id in kept_back) == (split == "val")]
    repeated_ids = [name for name, count in Counter(e.id for e in examples).items() if count > 1]
    if repeated_ids:
        raise UserError(
            f"{path}: the id {repeated_ids[0]!r} stands for several scenes; give data.group_column, or ids that differ"
        )
    return Loaded(examples, skipped, notes)


def count_lines(data: TableData) -> int:
    """Rows of `data.path`, usable or not; row i of precomputed vectors belongs to line i of them."""
    return sum(1 for _ in read_lines(Path(data.path), _SETTING))


def lines_of_text(data: TableData) -> list[str]:
    """The one text of every row of `data.path`, for embeddings whose row i belongs to line i.

    Raises:
        UserError: if a row holds several texts, or cannot be used.
    """
    rows, _ = _rows(Path(data.path), data.model_copy(update={"on_bad_rows": "error"}))
    for row in rows:
        if len(row.texts) != 1:
            raise UserError(
                f"{data.path}, line {row.number + 1}: field {data.text_column!r} holds {len(row.texts)} texts, "
                "but a row of clip.text_embeddings belongs to one; name the column of the embedded text in data.text_column"
            )
    return [row.texts[0] for row in rows]
