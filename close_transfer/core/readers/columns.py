"""Columns that a setting names: one, or all that fit a pattern, such as `caption_*` for caption_0, caption_1 and so on."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any


def match_columns(column: str, names: Iterable[str]) -> list[str]:
    """Return the column of this name, else all that fit it as a pattern; empty if there is none."""
    names = list(names)
    if column in names or "*" not in column:
        return [column] if column in names else []
    return [name for name in names if fnmatchcase(name, column)]


def find_filled(column: str, record: Any) -> list[str]:
    """Return the fields of a record that a column or a pattern names, without empty ones if there are several.

    The column itself is returned if there is none, so that reading it gives the error that it is missing.
    """
    names = match_columns(column, record) if isinstance(record, dict) else []
    filled = [name for name in names if len(names) > 1 and str(record[name] or "").strip()]
    return filled or names[:1] or [column]
