"""Formats of tables under another extension: a CSV or TSV named .txt, and a list or JSON Lines named .json."""

import json
from itertools import islice
from pathlib import Path

from close_transfer.core.readers.columns import match_columns
from close_transfer.core.readers.open_file import open_file
from close_transfer.core.readers.records import line_format

_MAX_FIRST_LINE = 2**20  # bytes; a longer line is neither a header nor an object with captions


def find_format(path: Path, setting: str, column: str, documents: str = "") -> tuple[str, str]:
    """Return the format of a table, and a note about it if the file's name says another.

    A .txt is a table if its first line has at least two columns, one of which is `column` or fits it as a pattern. A
    .json is JSON Lines if it has an object per line, and else a list (".json") if it begins like one.

    Args:
        path: the file.
        setting: name of the setting that holds the path, for messages.
        column: field of the texts.
        documents: other documents that a .json may hold, for messages; empty if the caller reads none.

    Raises:
        UserError: if the file does not exist, or its name has another extension.
    """
    if path.name.removesuffix(".gz").endswith(".json"):
        first_lines = _read_first_lines(path, setting) or [""]
        if _holds_json_lines(first_lines, column):
            return ".jsonl", f"{setting}={path} is read as JSON Lines, because it has an object per line"
        if documents or first_lines[0].lstrip().startswith("["):
            return ".json", ""
    others = f"{documents}, " if documents else ""
    kind = line_format(path, setting, also=f".json ({others}a list of objects or an object per line)")
    if kind != ".txt":
        return kind, ""
    header = next(iter(_read_first_lines(path, setting)), "")
    for separator, table in (("\t", ".tsv"), (",", ".csv")):
        names = [name.strip('"') for name in header.split(separator)]
        if len(names) > 1 and match_columns(column, names):
            return (
                table,
                f"{setting}={path} is read as {table}, because its first line names the columns {', '.join(names)}",
            )
    return kind, ""


def _read_first_lines(path: Path, setting: str) -> list[str]:
    """Return the first two lines that are not blank, without line ends."""
    with open_file(path, setting, lambda: ", line 1") as file:
        lines = islice(iter(lambda: file.readline(_MAX_FIRST_LINE), b""), 20)
        filled = (line.decode("utf-8-sig", "replace").rstrip("\r\n") for line in lines if line.strip())
        return list(islice(filled, 2))


def _holds_json_lines(first_lines: list[str], column: str) -> bool:
    first, *following = first_lines
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and (
        any(line.startswith("{") for line in following) or bool(match_columns(column, record))
    )
