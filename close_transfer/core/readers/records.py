"""Readers of records from untrusted files: JSON, JSON Lines, CSV, TSV and text, each also .gz; Parquet.

A file that cannot be read raises `UserError`. A record that cannot be used is a `RecordError`; `record_errors.RecordErrors`
reports the first few of a file, or counts the skipped ones.
"""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.labels import match_label
from close_transfer.core.readers.csv_rows import read_cells
from close_transfer.core.readers.open_file import open_file
from close_transfer.core.readers.parquet import read_parquet
from close_transfer.core.readers.record_errors import RecordError

LINE_FORMATS = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
_MAX_LINE_LENGTH = 16 * 2**20  # characters; a file without line ends must not fill the memory
_MAX_DOCUMENT_SIZE = 8 * 2**30  # bytes after decompression; a document is parsed in memory as a whole
_BLOCK = 16 * 2**20  # bytes read at a time
_MAX_SHOWN = 60  # characters of a file's content that a message quotes


def line_format(path: Path, setting: str, also: str = "") -> str:
    """Return the file's format by its name, one of `LINE_FORMATS`.

    Args:
        path: the file.
        setting: name of the setting that holds the path, for messages.
        also: further format that the caller accepts, for messages.

    Raises:
        UserError: lists the allowed formats, if the name has another.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in LINE_FORMATS:
        raise UserError(
            f"{setting}={path}: cannot read {suffix or 'a file without extension'}; allowed are "
            f"{', '.join([*LINE_FORMATS, *filter(None, [also])])}, text formats also with .gz. Convert the file to one of them"
        )
    return suffix


def _iterate_lines(path: Path, setting: str) -> Iterator[tuple[int, str | RecordError]]:
    """Yield the lines of a text file with their numbers, counted from 1, without line ends."""
    number = 0
    with (
        open_file(path, setting, lambda: f", line {number + 1}") as file,
        # Bytes that are not UTF-8 become lone surrogates, which `clean` finds and reports by line.
        io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as text,
    ):
        while line := text.readline(_MAX_LINE_LENGTH):
            number += 1
            if len(line) < _MAX_LINE_LENGTH or line.endswith("\n"):
                yield number, line.rstrip("\r\n")
                continue
            while (rest := text.readline(_MAX_LINE_LENGTH)) and not rest.endswith("\n"):
                pass  # skip the rest of the line, so that numbering stays right
            yield number, RecordError(f"the line is longer than {_MAX_LINE_LENGTH:,} characters")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | RecordError:
    """Build a JSON object; return a `RecordError` for duplicate keys, because one of the values would be lost."""
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    keys = [key for key, _ in pairs]
    return RecordError(
        f"the key {next(key for key in keys if keys.count(key) > 1)[:_MAX_SHOWN]!r} is in one object twice"
    )


def _parse_json(line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_build_object)
    except (ValueError, RecursionError) as error:
        return RecordError(f"not valid JSON ({str(error).splitlines()[0][:80]})")


def read_lines(
    path: Path,
    setting: str,
    names: Sequence[str] | None = None,
    kind: str | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield every row as (line number counted from 1, record or `RecordError`).

    A record of JSON and JSON Lines is any JSON value; of other formats it is a dict of fields. A line of .txt is the
    record {"text": line}. The file is read as a stream, except for a list in a .json.

    Args:
        path: the file.
        setting: name of the setting that holds the path, for messages.
        names: names of the columns of a .csv or .tsv without a header.
        kind: one of `LINE_FORMATS`, or ".json" for a list; None takes it from the file's name.
        columns: columns to read of a .parquet, as of `read_parquet`, because others, such as images, may be large.

    Raises:
        UserError: if the file does not exist, or cannot be read to its end.
    """
    kind = kind or line_format(path, setting)
    if kind == ".parquet":
        yield from read_parquet(path, setting, columns)
        return
    if kind == ".json":
        yield from enumerate(entries(read_document(path, setting), None, path, setting), start=1)
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
    """Return the value of a JSON file, with a `RecordError` in place of every object with duplicate keys.

    Raises:
        UserError: names the place of the mistake, if the file does not exist or is not JSON.
    """
    content = bytearray()
    with open_file(path, setting) as file:
        while block := file.read(_BLOCK):
            content += block
            if len(content) > _MAX_DOCUMENT_SIZE:
                raise UserError(f"{setting}={path}: holds more than {_MAX_DOCUMENT_SIZE >> 30} GiB of JSON. Split it")
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_build_object)
    except UnicodeDecodeError as error:
        raise UserError(f"{setting}={path}: is not UTF-8 (byte {error.start:,}). Save it as UTF-8") from None
    except RecursionError:
        raise UserError(f"{setting}={path}: is nested too deeply to be a dataset. Restore it from its source") from None
    except ValueError as error:
        raise UserError(f"{setting}={path}: is not valid JSON ({error}). Restore it from its source") from None
    if isinstance(document, RecordError):
        raise UserError(f"{setting}={path}: {document}. Restore it from its source")
    return document


def entries(document: Any, key: str | None, path: Path, setting: str) -> list[Any]:
    """Return the list under `key` of a JSON document, or the document itself if `key` is None.

    Raises:
        UserError: lists the keys of the document, if it has no such list.
    """
    expected = f"a list under {key!r}" if key else "a list"
    if key is not None and not isinstance(document, dict):
        raise UserError(
            f"{setting}={path}: holds {_describe_kind(document)}, not an object with {expected}. Give the dataset's own file"
        )
    records = document.get(key) if key is not None else document
    if not isinstance(records, list):
        keys_hint = f"; its keys are {_format_names(document)}" if isinstance(document, dict) else ""
        raise UserError(f"{setting}={path}: {expected} is missing{keys_hint}. Give the dataset's own file")
    return records


def _format_names(record: dict[str, Any]) -> str:
    return ", ".join(repr(key[:_MAX_SHOWN]) for key in list(record)[:12]) or "none"


def _describe_kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bytes: "bytes", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _describe_value(value: Any) -> str:
    """Describe a value by its kind, with the value of a number; texts and lists may be too long to show."""
    return _describe_kind(value) + (f" ({str(value)[:40]})" if isinstance(value, (int, float)) else "")


def field(record: Any, name: str) -> Any:
    """Return one field of a record.

    Raises:
        RecordError: if the field is missing or null, or the record is not an object.
    """
    if isinstance(record, RecordError):
        raise record
    if not isinstance(record, dict):
        raise RecordError(f"{_describe_kind(record)}, not an object with the field {name!r}")
    value = record.get(name)
    if value is None and name in record:
        raise RecordError(f"field {name!r} is null")
    if value is None:
        raise RecordError(f"field {name!r} is missing; the fields here are {_format_names(record)}")
    if isinstance(value, RecordError):
        raise value
    return value


def verbatim(value: Any, name: str) -> str:
    """Return the text of field `name` unchanged; it may be empty.

    Raises:
        RecordError: if the value is not text, not UTF-8, or holds a NUL character.
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
        raise RecordError(f"field {name!r} holds a NUL character; the text may have been saved as UTF-16")
    return value


def clean(value: Any, name: str) -> str:
    """Return the text of field `name` with single spaces.

    Raises:
        RecordError: if the value is not text, not UTF-8, or empty.
    """
    text = " ".join(verbatim(value, name).split())
    if not text:
        raise RecordError(f"field {name!r} is empty")
    return text


def text_field(record: Any, name: str) -> str:
    """Return a text field with single spaces; raise `RecordError` for any other value."""
    return clean(field(record, name), name)


def texts_field(record: Any, name: str) -> tuple[str, ...]:
    """Return the texts of a field that holds one text or a list of them; raise `RecordError` if there is none."""
    value = field(record, name)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise RecordError(f"field {name!r} is an empty list")
    return tuple(clean(text, name) for text in values)


def choice_field(record: Any, name: str, allowed: Sequence[str]) -> str:
    """Return the allowed value that a text field gives, as of `match_label`; raise `RecordError` if it gives none."""
    value = text_field(record, name)
    choice = match_label(value, allowed)
    if choice is None:
        raise RecordError(f"field {name!r} is {value[:_MAX_SHOWN]!r}; allowed are {', '.join(allowed)}")
    return choice


def key_field(record: Any, name: str) -> str:
    """Return an identifier, text or a whole number, as text; raise `RecordError` for any other value."""
    value = field(record, name)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise RecordError(f"field {name!r} is {_describe_value(value)}, not text or a whole number")
    return clean(str(value), name)


def new_key(record: Any, name: str, seen_keys: set[str]) -> str:
    """Return an identifier that is not in `seen_keys`, and add it there; raise `RecordError` if it is."""
    key = key_field(record, name)
    if key in seen_keys:
        raise RecordError(f"field {name!r} is {key[:_MAX_SHOWN]!r}, which another entry has too")
    seen_keys.add(key)
    return key


def list_field(record: Any, name: str) -> list[Any]:
    """Return a list field; raise `RecordError` for any other value."""
    value = field(record, name)
    if not isinstance(value, list):
        raise RecordError(f"field {name!r} is {_describe_kind(value)}, not a list")
    return value
