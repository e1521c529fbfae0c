"""Own captions from a file: .txt (a caption a line), .jsonl, .csv (with a header), each also .gz."""

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

from PIL import Image

from close_transfer.config import TableData
from close_transfer.errors import UserError
from close_transfer.examples import Example, ImageRef
from close_transfer.files import file_fingerprint, fingerprint
from close_transfer.sources.loaded import Loaded

FORMATS = (".txt", ".jsonl", ".csv")
_MOST_FAULTS_SHOWN = 5


@dataclass(frozen=True)
class _Row:
    """One usable row: its number counted from 0 over all rows of the file, and what it says."""

    number: int
    texts: tuple[str, ...]
    group: str | None
    id: str | None
    image: str | None


class _Fault(Exception):
    """Why a row cannot be used; the message names the field."""


def format_of(path: Path) -> str:
    """The file's format by its name, one of `FORMATS`.

    Raises:
        UserError: for any other name.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in FORMATS:
        raise UserError(
            f"data.path={path}: cannot read {suffix or 'a file without extension'}; allowed are {', '.join(FORMATS)}, each also with .gz"
        )
    return suffix


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if not path.is_file():
        raise UserError(f"data.path={path}: there is no such file; give the path of a {', '.join(FORMATS)} file")
    raw = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115  closed below
    # Bytes that are no UTF-8 become lone surrogates, which `_clean` finds and reports by line.
    with io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield text


def _clean(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise _Fault(f"field {column!r} is {type(value).__name__} {str(value)[:40]}, not text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _Fault(f"field {column!r} is not UTF-8")
    text = " ".join(value.split())
    if not text:
        raise _Fault(f"field {column!r} is empty")
    return text


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """(line counted from 1, record or fault) for every row; a record is a dict of fields."""
    kind = format_of(path)
    line = 0
    try:
        with _opened(path) as file:
            if kind == ".csv":
                reader = csv.DictReader(file, strict=True, restkey="(extra fields)")
                for record in reader:
                    line = reader.line_num
                    yield line, record
                return
            for line, raw in enumerate(file, start=1):
                if kind == ".txt":
                    yield line, {"text": raw}
                    continue
                try:
                    yield line, json.loads(raw)
                except (ValueError, RecursionError) as error:
                    yield line, _Fault(f"no valid JSON ({error})")
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise UserError(
            f"{path}, line {line + 1}: the file is damaged or cut short ({error}); restore it from its source"
        ) from None
    except csv.Error as error:
        raise UserError(f"{path}, line {line + 1}: no valid CSV ({error}); mend the line") from None


def _field(record: Any, column: str) -> Any:
    if isinstance(record, _Fault):
        raise record
    if not isinstance(record, dict):
        raise _Fault(f"{type(record).__name__} where an object with the field {column!r} should be")
    if record.get(column) is None:
        have = ", ".join(repr(name) for name in record if name is not None)
        raise _Fault(f"field {column!r} is missing; the fields here are {have}")
    return record[column]


def _label(record: Any, column: str | None) -> str | None:
    if column is None:
        return None
    value = _field(record, column)
    if isinstance(value, (dict, list, bool)):
        raise _Fault(f"field {column!r} is {type(value).__name__}, not text or a number")
    return _clean(str(value), column)


def _row(number: int, record: Any, data: TableData) -> _Row:
    value = _field(record, data.text_column)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise _Fault(f"field {data.text_column!r} is an empty list")
    return _Row(
        number,
        tuple(_clean(one, data.text_column) for one in values),
        _label(record, data.group_column),
        _label(record, data.id_column),
        _label(record, data.image_column),
    )


def _rows(path: Path, data: TableData) -> tuple[list[_Row], Counter[str]]:
    rows: list[_Row] = []
    faults: list[str] = []
    for number, (line, record) in enumerate(_records(path)):
        try:
            rows.append(_row(number, record, data))
        except _Fault as fault:
            faults.append(f"{path}, line {line}: {fault}")
    if faults and data.on_bad_rows == "error":
        shown = faults[:_MOST_FAULTS_SHOWN]
        more = len(faults) - len(shown)
        raise UserError(
            "\n".join([*shown, *([f"and {more} more such lines"] if more else [])])
            + "\nmend the file, or skip and count such lines with data.on_bad_rows=skip"
        )
    if not rows:
        raise UserError(f"{path}: no usable line ({len(faults)} unusable ones); give a file with at least one caption")
    return rows, Counter({"unusable lines": len(faults)} if faults else {})


def _open_image(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _image_ref(row: _Row, folder: Path) -> ImageRef:
    def missing() -> NoReturn:
        raise UserError(
            f"line {row.number + 1} names no picture; give data.image_column=NAME of the column with image files"
        )

    if row.image is None:
        return ImageRef(f"row {row.number}", missing, missing, row.number)
    path = folder / row.image
    return ImageRef(row.image, partial(_open_image, path), partial(file_fingerprint, path), row.number)


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
        image = _image_ref(members[0], path.parent)
        examples.append(Example(members[0].id or name, texts, image, references=texts))
    return examples, num_repeated


def _held_out(examples: list[Example], share: float) -> set[str]:
    """Ids of the scenes kept for validation, chosen by a hash of the id, so that more rows move few."""
    ordered = sorted(examples, key=lambda e: fingerprint(["validation", e.id]))
    return {e.id for e in ordered[: max(1, round(share * len(examples)))]}


def load(data: TableData, task: str, split: str) -> Loaded:
    """Scenes of one split: `train` and `val` share a file unless there is a `data.val_path`.

    With `split="test"` every row of `data.path` is used.

    Raises:
        UserError: naming file, line and field of what cannot be used.
    """
    if task not in ("captioning", "captioning-multi"):
        raise UserError(f"task={task}: data=table holds captions only; use task=captioning or task=captioning-multi")
    path = Path(data.val_path if split == "val" and data.val_path else data.path)
    rows, skipped = _rows(path, data)
    examples, num_repeated = _scenes(rows, path)
    notes = [f"{num_repeated} captions repeated within their scene are used once"] if num_repeated else []
    if split in ("train", "val") and data.val_path is None:
        held_out = _held_out(examples, data.val_share)
        if len(examples) == 1:
            notes.append("there is one scene only, so validation sees the training text")
        else:
            examples = [e for e in examples if (e.id in held_out) == (split == "val")]
    repeated_ids = [name for name, count in Counter(e.id for e in examples).items() if count > 1]
    if repeated_ids:
        raise UserError(
            f"{path}: the id {repeated_ids[0]!r} stands for several scenes; give data.group_column, or ids that differ"
        )
    return Loaded(examples, skipped, notes)


def count_lines(data: TableData) -> int:
    """Rows of `data.path`, usable or not; row i of precomputed vectors belongs to line i of them."""
    return sum(1 for _ in _records(Path(data.path)))


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
