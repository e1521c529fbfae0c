"""CSV and TSV rows, parsed strictly so that no cell is lost silently."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.text_check import classify

Lines = Iterator[tuple[int, str | RecordError]]
Row = list[str]


def _split_row(number: int, first: str, following: Lines, path: Path) -> Row | RecordError:
    """Return the cells of the CSV row that begins with line `first`; read further lines while a quote is open."""
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
            return RecordError(f"not valid CSV ({error})")
        raise UserError(
            f"{path}, line {number}: not valid CSV ({error}): a quote that opens in this line is not closed correctly "
            f"in the {num_following:,} lines after it. Correct the line"
        ) from None


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _unquote(cell: str, is_header_quoted: bool) -> str:
    """Return a cell without its quotes if a writer such as pandas put them there.

    They are a writer's if those within the cell are doubled, or if the names of the columns have them too.
    """
    is_written = _is_quoted(cell) and (is_header_quoted or '""' in cell[1:-1])
    return cell[1:-1].replace('""', '"') if is_written else cell


def _parse_rows(path: Path, lines: Lines, tabs: bool, has_header: bool) -> Iterator[tuple[int, Row | RecordError]]:
    is_header_quoted: bool | None = None
    for number, line in lines:
        if isinstance(line, RecordError):
            yield number, line
        elif not line.strip():
            yield number, RecordError("the line is empty")
        elif tabs:  # in the TSV files of datasets, quotes are ordinary characters, unless a writer put them there
            cells = line.split("\t")
            if is_header_quoted is None:
                is_header_quoted = has_header and all(map(_is_quoted, cells))
            yield number, [_unquote(cell, is_header_quoted) for cell in cells]
        else:
            yield number, _split_row(number, line, lines, path)


def _read_header(rows: Iterator[tuple[int, Row | RecordError]], path: Path) -> Sequence[str]:
    for number, row in rows:
        if isinstance(row, RecordError):
            raise UserError(f"{path}, line {number}: the header cannot be used: {row}. Correct the line")
        repeated = [name for name, count in Counter(row).items() if name and count > 1]
        if repeated:
            raise UserError(
                f"{path}, line {number}: the header names {repeated[0][:40]!r} twice. Give every column a different name"
            )
        unlikely = next((name for name in row if classify(name) in ("addresses", "file names")), None)
        if unlikely is not None:
            raise UserError(
                f"{path}, line {number}: the header holds {unlikely[:40]!r}, which is not the name of a column. "
                "Add a first line with the names of the columns"
            )
        return row
    return ()


def read_cells(
    path: Path, lines: Lines, tabs: bool, names: Sequence[str] | None
) -> Iterator[tuple[int, dict[str, str] | RecordError]]:
    """Yield every row below the header as (line number, fields by name or `RecordError`).

    Lines are counted from 1. A quoted CSV cell may contain line breaks; the row's number is that of its first line.

    Args:
        path: the file, for messages.
        lines: numbered lines of the file.
        tabs: True for TSV, whose quotes have a meaning only if those within a cell are doubled; False for CSV.
        names: names of the columns if the file has no header, else None.

    Raises:
        UserError: if the header cannot be used, or a quote stays open, because then it is not known where a cell ends.
    """
    rows = _parse_rows(path, lines, tabs, has_header=not names)
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
