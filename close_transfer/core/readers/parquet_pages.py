"""Footers of Parquet files and headers of their pages, which say how many bytes a page takes when it is unpacked.

The footer says the same per column, but it may be wrong. The libraries that read a page trust the page's header, and reserve as
much memory as it says before they unpack it. The footer is read here because pyarrow ends the process if one of its columns is
damaged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from close_transfer.core.readers.thrift import CompactReader, TruncatedError

_END = 8  # bytes at the end of a file: the length of its footer, and its signature
_MAX_HEADER = 16 * 2**20  # bytes, the limit of Arrow
_FIRST_READ = 256  # bytes; most headers are shorter

# Parquet's numbers of types and encodings.
_BYTE_ARRAY = 6
_DICTIONARIES, _DELTAS = {2, 8}, {5, 6, 7}


@dataclass(frozen=True)
class Chunk:
    """Column of a row group, as the footer describes it.

    Attributes:
        column: index of the column among the leaves of the schema.
        name: name at the top of the schema, which may hold dots.
        path: names from the top of the schema to the column, with dots between them.
        is_bytes: True for texts and images, which have any length.
        has_dictionary: True if values may refer to a dictionary.
        has_deltas: True if values may be differences to the value before.
        num_values: number of values, missing ones included.
        size: bytes after unpacking.
        start: place of the first page in the file.
    """

    column: int
    name: str
    path: str
    is_bytes: bool
    has_dictionary: bool
    has_deltas: bool
    num_values: int
    size: int
    start: int


@dataclass(frozen=True)
class Page:
    """Header of a page.

    Attributes:
        is_dictionary: True if it holds the values that other pages refer to.
        size: bytes of its content after unpacking.
        num_values: number of values; 0 for a dictionary.
        refers: True if its values refer to a dictionary.
    """

    is_dictionary: bool
    size: int
    num_values: int
    refers: bool


def read_chunks(path: Path) -> list[list[Chunk]]:
    """Return the columns of each row group.

    Raises:
        ValueError: if the footer is damaged.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END))
        length = int.from_bytes(file.read(_END)[:4], "little")
        if length + _END > size:
            raise ValueError("its footer is longer than the file")
        file.seek(size - _END - length)
        footer = CompactReader(file.read(length)).read_struct()
    try:
        return [[_parse_chunk(*entry) for entry in enumerate(group[1])] for group in footer.get(4, [])]
    except (LookupError, TypeError, AttributeError):
        raise ValueError("its footer lacks what describes a column") from None


def _parse_chunk(column: int, entry: dict[int, Any]) -> Chunk:
    """Return a column from the fields of Parquet's `ColumnChunk`."""
    fields = entry[3]
    start, of_dictionary = fields[9], fields.get(11, 0)
    if min(fields[5], fields[6], start) < 0:
        raise ValueError("its footer holds a number below zero")
    encodings = set(fields[2])
    return Chunk(
        column=column,
        name=fields[3][0].decode(),
        path=b".".join(fields[3]).decode(),
        is_bytes=fields[1] == _BYTE_ARRAY,
        has_dictionary=bool(encodings & _DICTIONARIES),
        has_deltas=bool(encodings & _DELTAS),
        num_values=fields[5],
        size=fields[6],
        start=of_dictionary if 0 < of_dictionary < start else start,
    )


def iterate_pages(path: Path, chunk: Chunk) -> Iterator[Page]:
    """Yield the pages of a column in a row group, as Arrow would read them.

    Raises:
        ValueError: if a header is damaged.
        OSError: if the file cannot be read.
    """
    start, num_seen = chunk.start, 0
    with path.open("rb") as file:
        while num_seen < chunk.num_values:
            header, content = _read_header(file, start)
            page, length = _parse_page(header)
            num_seen += page.num_values
            yield page
            start = content + length


def _read_header(file: BinaryIO, start: int) -> tuple[dict[int, Any], int]:
    """Return the header at this place, and the place of the page's content."""
    size = _FIRST_READ
    while True:
        file.seek(start)
        content = file.read(size)
        reader = CompactReader(content)
        try:
            return reader.read_struct(), start + reader.place
        except TruncatedError:
            if len(content) < size or size >= _MAX_HEADER:
                raise
            size *= 4


def _parse_page(header: dict[int, Any]) -> tuple[Page, int]:
    """Return a page, and its bytes in the file, from the fields of Parquet's `PageHeader`."""
    size, length = header.get(2), header.get(3)
    if not isinstance(size, int) or not isinstance(length, int) or min(size, length) < 0:
        raise ValueError("the header of a page has no size")
    # Data pages of the first and the second version.
    values, encoding = (header[5], 2) if 5 in header else (header.get(8), 4)
    if not isinstance(values, dict):
        return Page(7 in header, size, 0, False), length
    num_values = values.get(1)
    if not isinstance(num_values, int) or num_values < 0:
        raise ValueError("the header of a page has no number of values")
    return Page(False, size, num_values, values.get(encoding) in _DICTIONARIES), length
