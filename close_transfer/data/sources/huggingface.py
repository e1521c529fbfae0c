"""Datasets of the `datasets` library: a name on the hub, or a folder that the library can read."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow
from pyarrow import compute

from close_transfer.config.data import HuggingFaceData
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError, get_first_line
from close_transfer.core.packed_records import PackedRecords
from close_transfer.core.readers.columns import match_columns
from close_transfer.core.readers.open_file import is_file
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.data.example_kinds import ExampleKind
from close_transfer.data.examples import ImageRef
from close_transfer.data.image_files import open_image, read_image
from close_transfer.data.image_preparation import ImageOpener
from close_transfer.data.sources.dataset_folder import (
    check_builder,
    check_saved,
    check_sizes,
    find_image,
    find_parquet_columns,
    is_saved,
)
from close_transfer.data.sources.images import StoredImage, TableImageOpener, describe_missing_image
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.own_examples import build_examples
from close_transfer.data.sources.own_rows import (
    Row,
    append_row,
    check_columns,
    find_columns,
    parse_row,
)

_COLUMNS = ("text_column", "target_column", "group_column", "id_column", "references_column", "image_column")
_ROWS_AT_A_TIME = 1000  # rows of images whose lengths are looked up together


def _explain_failure(error: Exception) -> str:
    """Return the message of the reader's error, which the library wraps in one that says less."""
    root = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else error
    return get_first_line(root)


def _build_split_error(data: HuggingFaceData, split: str, name: str, available: Iterable[object]) -> UserError:
    """Return the error for a split that the settings name and the dataset lacks."""
    problem = f"data.splits.{split}={name}: {data.path} has only {', '.join(map(str, available))}"
    if split == "val":
        share = f"data.val_share={data.val_share:g}"
        return UserError(
            f"{problem}. Give one of these, or data.splits.val=null to hold out {share} of the training split"
        )
    return UserError(f"{problem}. Give data.splits.{split}=NAME, one of these")


def _name_columns(data: HuggingFaceData, available: list[str]) -> list[tuple[str, str]]:
    """Return each column that the settings name, with the setting's name; a pattern names several.

    Raises:
        UserError: if the dataset lacks one.
    """
    named: list[tuple[str, str]] = []
    for setting in _COLUMNS:
        column = getattr(data, setting)
        if column is None:
            continue
        matching = match_columns(column, available) if setting == "text_column" else [column]
        if not matching or matching[0] not in available:
            raise UserError(
                f"data.{setting}={column}: {data.path} has no such column. Use one of {', '.join(available)}"
            )
        named += [(setting, name) for name in matching]
    for column in find_columns(data.prompt):
        if column not in available:
            raise UserError(
                f"data.prompt={data.prompt}: {data.path} has no column {column}. Use one of {', '.join(available)}"
            )
        named.append(("prompt", column))
    return named


def _make_builder(data: HuggingFaceData) -> Any:
    """Return the library's reader of a folder or of a dataset of the hub, after a check of its files.

    Of Parquet files only the columns that the settings name are read, because the library holds whole row groups in
    memory, and images fill it.
    """
    builder = datasets.load_dataset_builder(data.path, data.config)
    check_builder(builder, data.path)
    available = find_parquet_columns(builder)
    if not available:
        check_sizes(builder, None)
        return builder
    named = {column for _, column in _name_columns(data, available)}
    columns = [column for column in available if column in named]  # in one order, by which the library knows its cache
    check_sizes(builder, columns)
    return datasets.load_dataset_builder(data.path, data.config, columns=columns)


def _load_dataset(data: HuggingFaceData, split: str) -> tuple[datasets.Dataset, bool]:
    """Return the rows of a split, and True if training and validation share them."""
    splits: dict[Any, str | None] = {**data.splits}
    shared = split in ("train", "val") and splits.get("val") is None
    used_split = "train" if shared else split
    name = splits.get(used_split)
    if name is None:
        raise UserError(
            f"split={split}: data.splits.{used_split} is empty. Give data.splits.{used_split}=NAME, a split of {data.path}"
        )
    try:
        if not is_saved(Path(data.path)):
            builder = _make_builder(data)
            builder.download_and_prepare()
            return builder.as_dataset(split=name), shared
        check_saved(Path(data.path))
        loaded = datasets.load_from_disk(data.path)
    except UserError:
        raise
    except Exception as error:  # the library passes on errors of any kind from its readers
        if str(error).startswith("Unknown split"):
            raise _build_split_error(
                data, used_split, name, datasets.get_dataset_split_names(data.path, data.config)
            ) from None
        raise UserError(
            f"data.path={data.path} (split {name}): cannot be loaded ({_explain_failure(error)}). Give a name on the hub "
            "and connect to it once, or a folder that holds a dataset's files or was written by save_to_disk"
        ) from None
    if not isinstance(loaded, datasets.DatasetDict):  # a single table without splits, treated like a file
        return loaded, split in ("train", "val")
    if name not in loaded:
        raise _build_split_error(data, used_split, name, loaded)
    return loaded[name], shared


def _name_labels(value: Any, feature: Any) -> Any:
    """Return the names of a `ClassLabel` column's numbers; None for -1, by which datasets write a missing label."""
    if isinstance(feature, datasets.ClassLabel):
        return feature.int2str(value) if isinstance(value, int) and value >= 0 else None
    if isinstance(value, list) and isinstance(inner := getattr(feature, "feature", None), datasets.ClassLabel):
        return [_name_labels(item, inner) for item in value]
    return value


def _check_text_columns(dataset: datasets.Dataset, columns: Iterable[tuple[str, str]]) -> None:
    """Check that no column of texts holds images or sound, which the library would decode when a row is read."""
    for setting, column in columns:
        feature = dataset.features[column]
        if datasets.features.features.require_decoding(feature):
            raise UserError(
                f"data.{setting}={column}: holds {str(feature)[:80]}, not text. Give a column of texts, one of "
                f"{', '.join(dataset.column_names)}"
            )


def _iterate_rows(dataset: datasets.Dataset, data: HuggingFaceData) -> Iterator[tuple[int, Any]]:
    rows, features = enumerate(dataset), dataset.features
    number = -1
    while True:
        try:
            number, record = next(rows)
        except StopIteration:
            return
        except Exception as error:  # as above; a damaged file fails only when its rows are read
            raise UserError(
                f"data.path={data.path}, row {number + 1}: the dataset is damaged ({_explain_failure(error)}). Restore it "
                "from its source"
            ) from None
        yield number, {name: _name_labels(value, features[name]) for name, value in record.items()}


class _Images:
    """Images of a dataset, which stay encoded until one of them is opened."""

    def __init__(self, dataset: datasets.Dataset, column: str, data: HuggingFaceData, split: str) -> None:
        if not isinstance(dataset.features[column], datasets.Image):
            raise UserError(
                f"data.image_column={column}: holds {dataset.features[column]}, not images. Cast the column to datasets.Image"
            )
        self._packed = dataset.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        self._column, self._path, self._split = column, data.path, split

    def find_first_rows(self) -> list[int]:
        """Return, for each row, the first row with the same image.

        Images in the dataset are compared by their bytes, of which only those with equal lengths are read; files are
        compared by their paths.
        """
        marks = [
            mark for table in self._packed.with_format("arrow").iter(_ROWS_AT_A_TIME) for mark in self._mark(table)
        ]
        counts, first_rows = Counter(marks), dict[object, int]()
        rows = []
        for row, mark in enumerate(marks):
            if mark is None:  # no image
                rows.append(row)
                continue
            is_content = isinstance(mark, int) and counts[mark] > 1
            rows.append(first_rows.setdefault(self._compute_digest(row).encode() if is_content else mark, row))
        return rows

    def _mark(self, table: pyarrow.Table) -> Iterator[int | str | None]:
        """Yield the number of bytes of each image, or the path of its file; None if there is neither."""
        for chunk in table[self._column].chunks:
            sizes = compute.binary_length(compute.struct_field(chunk, "bytes")).to_pylist()
            paths = compute.struct_field(chunk, "path").to_pylist()
            yield from (size or path or None for size, path in zip(sizes, paths, strict=True))

    def _read_content(self, row: int) -> bytes | Path:
        """Return the encoded image, or the file that holds it."""
        value = self._packed[row][self._column] or {}
        if value.get("bytes"):
            return value["bytes"]
        if not value.get("path"):
            raise UserError(f"data.path={self._path}, row {row}: field {self._column!r} holds no image")
        content = find_image(value["path"], self._path)
        if isinstance(content, Path) and not is_file(content):
            raise UserError(f"{describe_missing_image(content)}, which data.path={self._path} names in row {row}")
        return content

    def _explain_missing(self, row: int) -> str:
        try:
            self._read_content(row)
        except UserError as error:
            return str(error)
        return ""

    def _read(self, row: int) -> ImageOpener:
        content = self._read_content(row)
        if isinstance(content, Path):
            return partial(open_image, content)
        return partial(read_image, content, f"data.path={self._path}, row {row}")

    def _compute_digest(self, row: int) -> str:
        content = self._read_content(row)
        if isinstance(content, bytes):
            return fingerprint([content])
        return fingerprint([content.read_bytes()])

    def __getitem__(self, row: int) -> ImageRef:
        key = f"{self._split}:{row}"
        return StoredImage(
            key,
            TableImageOpener(partial(self._read, row)),
            partial(self._compute_digest, row),
            None,
            partial(self._explain_missing, row),
        )


def load(data: HuggingFaceData, kind: ExampleKind, split: str, joins_rows: bool) -> LoadedSplit:
    """Return the examples of one split; rows of one group become one scene, with the image of the first row.

    Without a group, rows of one image are one scene. `joins_rows` is that of `build_examples`.

    If there is no validation split (`data.splits.val=null`, or a saved dataset without splits), `data.val_share` of
    the training scenes is held out.

    Raises:
        UserError: names row and field of unusable rows.
    """
    check_columns(data, kind)
    dataset, shared = _load_dataset(data, split)
    named = _name_columns(data, dataset.column_names)
    images = _Images(dataset, data.image_column, data, split) if data.image_column else None
    texts = [(setting, column) for setting, column in named if setting != "image_column"]
    _check_text_columns(dataset, texts)
    rows = PackedRecords(Row)
    faults = RecordErrors(Path(data.path), data.on_bad_rows, "rows")
    wanted_columns = list(dict.fromkeys(column for _, column in texts))
    for number, record in _iterate_rows(dataset.select_columns(wanted_columns), data):
        try:
            append_row(rows, parse_row(number, record, data, kind.labels))
        except RecordError as fault:
            faults.add(f"row {number}", fault)
    skipped = faults.settle(len(rows))
    first_rows = images.find_first_rows() if images and data.group_column is None else None
    if first_rows:
        rows, rows_before = PackedRecords(Row), rows
        for row in rows_before:
            append_row(rows, replace(row, image=str(first_rows[row.number])))
    examples, notes = build_examples(
        rows,
        data,
        kind,
        lambda number: f"row {number}",
        lambda number: images[first_rows[number] if first_rows else number] if images else None,
        split if shared else None,
        joins_rows,
    )
    return LoadedSplit(examples, skipped, notes)
