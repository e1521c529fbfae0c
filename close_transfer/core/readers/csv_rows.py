"""Rows of CSV and TSV: as strict as data deserve, so that no cell is lost without a word."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError

Lines = Iterator[tuple[int, str | RecordError]]
Row = list[str]


def _split_row(number: int, first: str, following: Lines, path: Path) -> Row | RecordError:
    """The cells of the CSV row that begins with line `first`; takes more lines while a quote is open."""
    num_following = 0

    def iterate_texts() -> Iterator[str]:
        nonlocal num_following
        yield f"{first}\n"
        for _, line in following:
            num_following += 1
            if isinstance(line, RecordError):
                raise line
            yield f"{line}\n"

    try:
        return next(csv.reader(iterate_texts(), strict=True))
    except (csv.Error, RecordError) as error:
        if not num_following:
            return RecordError(f"no valid CSV ({error})")
        raise UserError(
            f"{path}, line {number}: no valid CSV ({error}): a quote that opens in this line is not closed as it should be "
            f"in the {num_following:,} lines after it; mend the line"
        ) from None


def _parse_rows(path: Path, lines: Lines, tabs: bool) -> Iterator[tuple[int, Row | RecordError]]:
    for number, line in lines:
        if isinstance(line, RecordError):
            yield number, line
        elif not line.strip():
            yield number, RecordError("the line is empty")
        elif tabs:  # in every TSV that datasets come as, quotes are letters
            yield number, line.split("\t")
        else:
            yield number, _split_row(number, line, lines, path)


def _read_header(rows: Iterator[tuple[int, Row | RecordError]], path: Path) -> Sequence[str]:
    for number, row in rows:
        if isinstance(row, RecordError):
            raise UserError(f"{path}, line {number}: the header cannot be used: {row}; mend the line")
        repeated = [name for name, count in Counter(row).items() if name and count > 1]
        if repeated:
            raise UserError(
                f"{path}, line {number}: the header names {repeated[0][:40]!r} twice; give every column a name of its own"
            )
        return row
    return ()


def read_cells(
    path: Path, lines: Lines, tabs: bool, names: Sequence[str] | None
) -> Iterator[tuple[int, dict[str, str] | RecordError]]:
    """(line counted from 1, fields by name or `RecordError`) of every row below the header.

    A quoted CSV cell may hold line breaks; the row's line is its first.

    Args:
        path: for messages.
        lines: of the file.
        tabs: whether tabs separate, and quotes mean nothing.
        names: of the columns, if there is no header.

    Raises:
        UserError: for a header that cannot be used, and for a quote that is left open, as what is within
            it and what is not cannot be told.
    """
    rows = _parse_rows(path, lines, tabs)
    header = names or _read_header(rows, path)
    for number, row in rows:
        if isinstance(row, RecordError):
            yield number, row
        elif len(row) != len(header):
            yield (
                number,
                RecordError(f"{len(row)} fields where there should be {len(header)} ({', '.join(header)[:80]})"),
            )
        else:
            yield number, dict(zip(header, row, strict=True))
