"""Reads records from files that anyone may have written: JSON, JSON lines, CSV, TSV, text, each also .gz; Parquet.

Nothing here trusts its input. A file that cannot be read at all is a `UserError`; an entry that cannot
be used is a `RecordError`, and `faults.RecordErrors` decides what becomes of the file: an error that shows the first
few, or a count of what was skipped.
"""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.readers.csv_rows import read_cells
from close_transfer.core.readers.open_file import open_file
from close_transfer.core.readers.parquet import read_parquet
from close_transfer.core.readers.record_errors import RecordError

LINE_FORMATS = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
_LONGEST_LINE = 16 * 2**20  # characters
_LARGEST_DOCUMENT = 8 * 2**30  # bytes, unpacked
_BLOCK = 16 * 2**20  # bytes
_MAX_SHOWN = 60  # characters of what stands in a file, in messages


def line_format(path: Path, setting: str, also: str = "") -> str:
    """The file's format by its name, one of `LINE_FORMATS`.

    Raises:
        UserError: for any other name, with what is allowed, and what the caller takes `also`.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in LINE_FORMATS:
        raise UserError(
            f"{setting}={path}: cannot read {suffix or 'a file without extension'}; allowed are {', '.join([*LINE_FORMATS, *filter(None, [also])])}, each of text also with .gz"
        )
    return suffix


def _iterate_lines(path: Path, setting: str) -> Iterator[tuple[int, str | RecordError]]:
    """Lines of text, counted from 1, without their end."""
    number = 0
    with (
        open_file(path, setting, lambda: f", line {number + 1}") as file,
        # Bytes that are no UTF-8 become lone surrogates, which `clean` finds and reports by line.
        io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as text,
    ):
        while line := text.readline(_LONGEST_LINE):
            number += 1
            if len(line) < _LONGEST_LINE or line.endswith("\n"):
                yield number, line.rstrip("\r\n")
                continue
            while (rest := text.readline(_LONGEST_LINE)) and not rest.endswith("\n"):
                pass
            yield number, RecordError(f"the line is longer than {_LONGEST_LINE:,} characters")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RecordError:
    """A JSON object; a `RecordError` stands for one with a key twice, of whose values one would be lost."""
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    keys = [key for key, _ in pairs]
    return RecordError(
        f"the key {next(key for key in keys if keys.count(key) > 1)[:_MAX_SHOWN]!r} stands in one object twice"
    )


def _parse_json(line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_build_object)
    except (ValueError, RecursionError) as error:
        return RecordError(f"no valid JSON ({str(error).splitlines()[0][:80]})")


def read_lines(
    path: Path, setting: str, names: Sequence[str] | None = None, kind: str | None = None
) -> Iterator[tuple[int, Any]]:
    """(line counted from 1, record or `RecordError`) of every row; a record is whatever JSON held, or a dict of fields.

    The file is read as a stream. A line of .txt is the record {"text": line}.

    Args:
        path: the file.
        setting: what the user gave it as, for messages.
        names: fields of a .csv or .tsv without a header.
        kind: one of `LINE_FORMATS`, where the name does not tell.

    Raises:
        UserError: if there is no such file, or it cannot be read to its end.
    """
    kind = kind or line_format(path, setting)
    if kind == ".parquet":
        yield from read_parquet(path, setting)
        return
    lines = _iterate_lines(path, setting)
    if kind in (".csv", ".tsv"):
        yield from read_cells(path, lines, kind == ".tsv", names)
        return
    for number, line in lines:
        if isinstance(line, RecordError):
            yield number, line
        elif kind == ".txt":
            yield number, {"text": line}
        else:
            yield number, _parse_json(line) if line.strip() else RecordError("the line is empty")


def read_document(path: Path, setting: str) -> Any:
    """What a JSON file holds; a `RecordError` stands for every object in it with a key twice.

    Raises:
        UserError: if there is no such file, or it is no JSON; with the place of the fault.
    """
    content = bytearray()
    with open_file(path, setting) as file:
        while block := file.read(_BLOCK):
            content += block
            if len(content) > _LARGEST_DOCUMENT:
                raise UserError(f"{setting}={path}: holds more than {_LARGEST_DOCUMENT >> 30} GiB of JSON; split it")
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_build_object)
    except UnicodeDecodeError as error:
        raise UserError(f"{setting}={path}: is not UTF-8 (byte {error.start:,}); write it again as UTF-8") from None
    except RecursionError:
        raise UserError(f"{setting}={path}: is nested too deeply to be a dataset; restore it from its source") from None
    except ValueError as error:
        raise UserError(f"{setting}={path}: is no valid JSON ({error}); restore it from its source") from None
    if isinstance(document, RecordError):
        raise UserError(f"{setting}={path}: {document}; restore it from its source")
    return document


def entries(document: Any, key: str | None, path: Path, setting: str) -> list[Any]:
    """The list under `key` of a JSON document (the document itself when None).

    Raises:
        UserError: if there is none, with the keys that there are.
    """
    expected = f"a list under {key!r}" if key else "a list"
    if key is not None and not isinstance(document, dict):
        raise UserError(f"{setting}={path}: holds {_describe_kind(document)} where an object with {expected} should be")
    listed = document.get(key) if key is not None else document
    if not isinstance(listed, list):
        keys_hint = f"; its keys are {_format_names(document)}" if isinstance(document, dict) else ""
        raise UserError(f"{setting}={path}: {expected} is missing{keys_hint}; give the dataset's own file")
    return listed


def _format_names(record: dict[str, Any]) -> str:
    return ", ".join(repr(key[:_MAX_SHOWN]) for key in list(record)[:12]) or "none"


def _describe_kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _describe_value(value: Any) -> str:
    """What a value is; of numbers also which, as what is in lists and objects has no end."""
    return _describe_kind(value) + (f" ({str(value)[:40]})" if isinstance(value, (int, float)) else "")


def field(record: Any, name: str) -> Any:
    """One field of a record.

    Raises:
        RecordError: if there is no such field, or the record has no fields.
    """
    if isinstance(record, RecordError):
        raise record
    if not isinstance(record, dict):
        raise RecordError(f"{_describe_kind(record)} where an object with the field {name!r} should be")
    value = record.get(name)
    if value is None:
        raise RecordError(f"field {name!r} is missing; the fields here are {_format_names(record)}")
    if isinstance(value, RecordError):
        raise value
    return value


def verbatim(value: Any, name: str) -> str:
    """Text as it stands, as what was read from field `name`; it may be empty.

    Raises:
        RecordError: if it is no text, or holds what no UTF-8 text does.
    """
    if isinstance(value, RecordError):
        raise value
    if not isinstance(value, str):
        raise RecordError(f"field {name!r} is {_describe_value(value)}, not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RecordError(f"field {name!r} is not UTF-8") from None
    if "\0" in value:
        raise RecordError(f"field {name!r} holds a NUL character, as text that was written as UTF-16 does")
    return value


def clean(value: Any, name: str) -> str:
    """Text with single spaces, as what was read from field `name`.

    Raises:
        RecordError: if it is no text, no UTF-8, or empty.
    """
    text = " ".join(verbatim(value, name).split())
    if not text:
        raise RecordError(f"field {name!r} is empty")
    return text


def text_field(record: Any, name: str) -> str:
    """A field that is text, with single spaces. Raises `RecordError`."""
    return clean(field(record, name), name)


def texts_field(record: Any, name: str) -> tuple[str, ...]:
    """A field that is a text or a list of texts, at least one. Raises `RecordError`."""
    value = field(record, name)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise RecordError(f"field {name!r} is an empty list")
    return tuple(clean(text, name) for text in values)


def choice_field(record: Any, name: str, allowed: Sequence[str]) -> str:
    """A field that is one of some words. Raises `RecordError`."""
    value = text_field(record, name)
    if value not in allowed:
        raise RecordError(f"field {name!r} is {value[:_MAX_SHOWN]!r}; allowed are {', '.join(allowed)}")
    return value


def key_field(record: Any, name: str) -> str:
    """A field that names something: text or a whole number, as text. Raises `RecordError`."""
    value = field(record, name)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise RecordError(f"field {name!r} is {_describe_value(value)}, not text or a whole number")
    return clean(str(value), name)


def new_key(record: Any, name: str, seen_keys: set[str]) -> str:
    """A field that names this one entry alone, and is entered in `seen_keys`. Raises `RecordError`."""
    key = key_field(record, name)
    if key in seen_keys:
        raise RecordError(f"field {name!r} is {key[:_MAX_SHOWN]!r}, which stands in another entry too")
    seen_keys.add(key)
    return key


def list_field(record: Any, name: str) -> list[Any]:
    """A field that is a list. Raises `RecordError`."""
    value = field(record, name)
    if not isinstance(value, list):
        raise RecordError(f"field {name!r} is {_describe_kind(value)}, not a list")
    return value
