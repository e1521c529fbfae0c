"""What a corpus is made from, read from files: reference texts, rows, examples, a user's keywords."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import read_lines
from close_transfer.core.readers.texts import TextReader
from close_transfer.core.schema import find_text_error


def read_texts(path: str, column: str, setting: str) -> list[str]:
    """The texts of .txt, .jsonl, .csv, .tsv, .parquet or COCO's .json, each of text also .gz; empty ones left out.

    Raises:
        UserError: naming the file, and the line of what cannot be used.
    """
    if not Path(path).is_file():
        raise UserError(f"{setting}={path}: there is no such file; give one of texts: .txt, .jsonl, .csv, .json")
    skip = f"a file without them, and {setting}_column= for another column than {column!r}"
    return list(TextReader("error", Counter(), skip).read(Path(path), column, setting))


def read_rows(path: Path, setting: str) -> Iterator[dict[str, Any]]:
    """The records of a table.

    Raises:
        UserError: naming the file, and the line of what is no record.
    """
    if not path.is_file():
        raise UserError(f"{setting}={path}: there is no such file; give a .jsonl, .csv or .tsv")
    for line, record in read_lines(path, setting):
        if isinstance(record, RecordError):
            raise UserError(f"{path}, line {line}: {record}; mend the line")
        if not isinstance(record, Mapping):
            raise UserError(f"{path}, line {line}: holds no object with fields; give one JSON object a line")
        for value in record.values():
            if isinstance(value, RecordError):
                raise UserError(f"{path}, line {line}: {value}; mend the line")
        if fault := find_text_error(json.dumps(record, ensure_ascii=False)):
            raise UserError(f"{path}, line {line}: {fault}")
        yield dict(record)


def check_columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str], path: Path) -> None:
    """Looks for columns that a recipe needs.

    Raises:
        UserError: naming the first row without one of them.
    """
    for number, row in enumerate(rows, start=1):
        for name in names:
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise UserError(f"{path}, row {number}: has no text in {name!r}; its columns are {', '.join(row)}")
