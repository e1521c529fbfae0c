"""Readers of a corpus's input files: reference texts, rows, in-context examples and keyword lists."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import read_lines
from close_transfer.core.readers.table_format import find_format
from close_transfer.core.readers.text_check import check_sentences
from close_transfer.core.readers.texts import TextReader
from close_transfer.core.schema import find_text_error

_logger = logging.getLogger(__name__)


def read_texts(path: str, column: str, setting: str, check_text: bool) -> list[str]:
    """Read the non-empty texts of a .txt, .jsonl, .csv, .tsv, .parquet or .json file (COCO's or a list), also .gz.

    Args:
        path: the file.
        column: field that holds the text.
        setting: name of the setting that holds the path, for messages.
        check_text: True to check that the texts look like sentences, and to split lists that a cell holds.

    Raises:
        UserError: names the file and the line that cannot be used, or a column that holds no sentences.
    """
    if not Path(path).is_file():
        raise UserError(f"{setting}={path}: there is no such file. Give a file of texts: .txt, .jsonl, .csv or .json")
    # Completes "or skip and count such lines with ...": this command has no setting that skips lines.
    skip = f"a file without them, and {setting}_column= for another column than {column!r}"
    return list(
        TextReader("error", Counter(), skip, "check_text=false" if check_text else None).read(
            Path(path), column, setting
        )
    )


def read_rows(path: Path, setting: str, column: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a .jsonl, .csv, .tsv or .parquet file, or of a list in a .json; a .txt has the column `text`.

    Args:
        path: the file.
        setting: name of the setting that holds the path, for messages.
        column: a column of the file if it is a table, to distinguish a table under .txt from lines of text.

    Raises:
        UserError: names the file and the line that is not a record.
    """
    if not path.is_file():
        raise UserError(f"{setting}={path}: there is no such file. Give a .jsonl, .json, .csv, .tsv or .parquet file")
    kind, note = find_format(path, setting, column)
    if note:
        _logger.info("note: %s", note)
    place = "entry" if kind == ".json" else "line"
    for line, record in read_lines(path, setting, kind=kind):
        if isinstance(record, RecordError):
            raise UserError(f"{path}, {place} {line}: {record}. Correct the {place}")
        if not isinstance(record, Mapping):
            raise UserError(f"{path}, {place} {line}: is not an object with fields. Give one JSON object per {place}")
        for value in record.values():
            if isinstance(value, RecordError):
                raise UserError(f"{path}, {place} {line}: {value}. Correct the {place}")
        try:  # the record is written to the plan later, as JSON in UTF-8
            text = json.dumps(record, ensure_ascii=False)
        except (TypeError, ValueError):  # a .parquet may hold dates, for example
            name = next(name for name, value in record.items() if not _fits_json(value))
            raise UserError(
                f"{path}, {place} {line}: column {name!r} holds a {type(record[name]).__name__}, not text. Save it as text, "
                "or leave it out"
            ) from None
        if fault := find_text_error(text):
            raise UserError(f"{path}, {place} {line}: {fault}")
        yield dict(record)


def _fits_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def check_texts(rows: Sequence[Mapping[str, Any]], column: str, setting: str) -> None:
    """Check that a column of rows holds sentences.

    Raises:
        UserError: names what it holds instead, with an example.
    """
    texts = [value for row in rows if isinstance(value := row.get(column), str)]
    remedy = f"a file whose column {column!r} holds sentences"
    check_sentences(texts, f"{setting}, column {column}", None, "check_text=false", remedy)


def check_columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str], path: Path) -> None:
    """Check that every row has text in the columns that a recipe needs.

    Raises:
        UserError: names the first row without one of them.
    """
    for number, row in enumerate(rows, start=1):
        for name in names:
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise UserError(
                    f"{path}, row {number}: has no text in column {name!r}; its columns are {', '.join(row)}. "
                    "Correct the row, or change the recipe's columns"
                )
