"""Datasets of the `datasets` library: a name of the hub, or a folder that it can read."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from close_transfer.config.data import HuggingFaceData
from close_transfer.errors import UserError
from close_transfer.examples import Example, ImageRef
from close_transfer.files import fingerprint
from close_transfer.pictures import open_picture, read_picture
from close_transfer.sources.faults import Fault, Faults
from close_transfer.sources.loaded import Loaded
from close_transfer.sources.opening import is_file
from close_transfer.sources.records import key_field, texts_field


def _reason(error: Exception) -> str:
    """What the library's reader met; the library wraps it in an error that says less."""
    root = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else error
    return (str(root).splitlines() or [type(root).__name__])[0][:200]


def _dataset(data: HuggingFaceData, split: str) -> datasets.Dataset:
    if split not in data.splits:
        raise UserError(f"split={split}: give data.splits.{split}=NAME, one of the dataset's own splits")
    name = data.splits[split]
    folder = Path(data.path)
    try:
        if is_file(folder / "dataset_dict.json") or is_file(folder / "state.json"):
            found = datasets.load_from_disk(str(folder))
        else:
            return datasets.load_dataset(data.path, data.config, split=name)
    except Exception as error:  # the library raises what its readers raise
        raise UserError(
            f"data.path={data.path} (split {name}): cannot be loaded ({_reason(error)}); give a name of the hub and connect to it once, "
            "or a folder that holds a dataset's files or was written by save_to_disk"
        ) from None
    if not isinstance(found, datasets.DatasetDict):
        return found
    if name not in found:
        raise UserError(f"data.splits.{split}={name}: {data.path} has {', '.join(found)}")
    return found[name]


def _rows(found: datasets.Dataset, data: HuggingFaceData) -> Iterator[tuple[int, Any]]:
    rows = enumerate(found)
    number = -1
    while True:
        try:
            number, record = next(rows)
        except StopIteration:
            return
        except Exception as error:  # as above; what is damaged may be met at any row
            raise UserError(
                f"data.path={data.path}, row {number + 1}: the dataset is damaged ({_reason(error)}); restore it from its source"
            ) from None
        yield number, record


class _Pictures:
    """The pictures of a dataset, which stay packed until a vector of them is needed."""

    def __init__(self, found: datasets.Dataset, column: str, data: HuggingFaceData, split: str) -> None:
        if not isinstance(found.features[column], datasets.Image):
            raise UserError(
                f"data.image_column={column}: holds no pictures but {found.features[column]}; cast it to datasets.Image"
            )
        self._packed = found.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        self._column, self._path, self._split = column, data.path, split

    def _content(self, row: int) -> bytes | Path:
        value = self._packed[row][self._column] or {}
        if value.get("bytes"):
            return value["bytes"]
        if value.get("path"):
            return Path(value["path"])
        raise UserError(f"data.path={self._path}, row {row}: field {self._column!r} holds no picture")

    def _open(self, row: int) -> Image.Image:
        content = self._content(row)
        if isinstance(content, Path):
            return open_picture(content)
        return read_picture(content, f"data.path={self._path}, row {row}")

    def _digest(self, row: int) -> str:
        content = self._content(row)
        if isinstance(content, bytes):
            return fingerprint([content])
        if not is_file(content):
            raise UserError(f"{content}: there is no such picture, which data.path={self._path} names in row {row}")
        return fingerprint([content.read_bytes()])

    def __getitem__(self, row: int) -> ImageRef:
        return ImageRef(f"{self._split}:{row}", partial(self._open, row), partial(self._digest, row))


def load(data: HuggingFaceData, split: str) -> Loaded:
    """Scenes of one split; rows of one group become one, with the picture of the first.

    Raises:
        UserError: naming row and field of what cannot be used.
    """
    found = _dataset(data, split)
    columns = {"text_column": data.text_column, "group_column": data.group_column, "id_column": data.id_column}
    for setting, column in (columns | {"image_column": data.image_column}).items():
        if column is not None and column not in found.column_names:
            raise UserError(
                f"data.{setting}={column}: {data.path} has no such column; the columns are {', '.join(found.column_names)}"
            )
    pictures = _Pictures(found, data.image_column, data, split) if data.image_column else None
    faults = Faults(Path(data.path), data.on_bad_rows, "rows")
    groups: dict[str, tuple[list[str], str, int]] = {}
    wanted = dict.fromkeys(column for column in columns.values() if column is not None)
    for number, record in _rows(found.select_columns([*wanted]), data):
        try:
            texts = texts_field(record, data.text_column)
            key = key_field(record, data.group_column) if data.group_column else f"row {number}"
            name = key_field(record, data.id_column) if data.id_column else key
        except Fault as fault:
            faults.add(f"row {number}", fault)
            continue
        groups.setdefault(key, ([], name, number))[0].extend(texts)
    examples = []
    for told, name, number in groups.values():
        distinct = tuple(dict.fromkeys(told))
        examples.append(Example(name, distinct, pictures[number] if pictures else None, references=distinct))
    repeated = [name for name, count in Counter(example.id for example in examples).items() if count > 1]
    if repeated:
        raise UserError(
            f"data.id_column={data.id_column}: {repeated[0]!r} stands for several scenes; give data.group_column, or ids that differ"
        )
    num_repeated = sum(len(texts) for texts, _, _ in groups.values()) - sum(len(e.texts) for e in examples)
    notes = [f"{num_repeated} captions repeated within their scene are used once"] if num_repeated else []
    return Loaded(examples, faults.settle(len(examples)), notes)
