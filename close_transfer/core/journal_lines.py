"""Lines of append-only journals, each with a running number and a checksum, so that no damage goes unnoticed.

A line is one JSON object that begins with `line`, its number counted from 1, and `crc32`, the CRC-32 of that number and of
everything after the checksum.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

# Fixed spaces and a number of limited length: every byte of a line is either checked here or covered by the checksum.
_FORM = re.compile(rb'\{"line": ([1-9][0-9]{0,14}), "crc32": "([0-9a-f]{8})", (.+)', re.DOTALL)


@dataclass(frozen=True)
class JournalLine:
    """Line of a journal as it was read.

    Attributes:
        place: place in the file, counted from 1.
        number: number that the line records; None if the line is damaged.
        record: record of the line; None if the line is damaged.
        end: byte position of the line's end in the file.
        content: the line itself, without its line end.
    """

    place: int
    number: int | None
    record: dict[str, Any] | None
    end: int
    content: bytes

    @property
    def problem(self) -> str | None:
        """Description of the damage; None if the line is whole and in its place."""
        if self.number is None:
            return f"line {self.place} does not match its checksum"
        if self.number < self.place:
            return f"line {self.place} repeats number {self.number}"
        if self.number > self.place:
            return f"line {self.place} has number {self.number}, so lines before it are missing"
        return None


class DamagedJournal(ValueError):
    """Journal with a damaged, missing or repeated line; the message says which."""


def format_line(number: int, record: Mapping[str, Any]) -> str:
    """Return a record, which must not be empty, as a line without its line end.

    Raises:
        ValueError: if the record holds NaN or infinity, which JSON cannot represent.
    """
    content = json.dumps(record, ensure_ascii=False, allow_nan=False)[1:]  # without the opening brace
    return f'{{"line": {number}, "crc32": "{_compute_checksum(str(number).encode(), content.encode())}", {content}'


def _compute_checksum(number: bytes, content: bytes) -> str:
    """Return the CRC-32 in eight hexadecimal digits, which guards against damage, not against malice."""
    return f"{zlib.crc32(content, zlib.crc32(number)):08x}"


def _parse_line(line: bytes) -> tuple[int, dict[str, Any]] | None:
    """Return number and record of a line without its line end; None if it is damaged."""
    match = _FORM.fullmatch(line)
    if match is None or _compute_checksum(match[1], match[3]).encode() != match[2]:
        return None
    try:
        record = json.loads(b"{" + match[3], parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return int(match[1]), record


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def scan_lines(path: Path) -> Iterator[JournalLine]:
    """Yield all lines of a journal, damaged ones too, except for a last line that a kill cut short."""
    end = 0
    with path.open("rb") as file:
        for place, line in enumerate(file, start=1):
            end += len(line)
            parsed = _parse_line(line[:-1])
            if not line.endswith(b"\n"):
                if parsed is None:  # another process may still be writing it
                    return
                parsed = None  # the whole line is there, so its line end was not cut off but damaged
            number, record = parsed or (None, None)
            yield JournalLine(place, number, record, end, line[:-1])


def read_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the records of a journal in order, each with the byte position of its end; skip an incomplete last line.

    Raises:
        DamagedJournal: if a line is damaged, missing or repeated.
    """
    for line in scan_lines(path):
        if line.record is None or line.problem:
            raise DamagedJournal(line.problem)
        yield line.record, line.end


def restore_line(line: bytes, number: int) -> dict[str, Any] | None:
    """Return the record of a damaged line if one wrong bit explains the damage, as its checksum shows; else None.

    Args:
        line: the line without its line end.
        number: number that the line must have.
    """
    prefix, separator = b'{"line": %d, "crc32": "' % number, b'", '
    start = len(prefix) + 8
    content = line[start + len(separator) :]
    checksum = _compute_checksum(str(number).encode(), content).encode()
    whole = prefix + checksum + separator + content
    if whole != line and not _differ_by_one_bit(whole, line):  # then the damage is not before the content
        try:
            syndrome = int(checksum, 16) ^ int(line[len(prefix) : start], 16)
        except ValueError:
            return None
        content = _flip_bit(content, syndrome)
        whole = line[: start + len(separator)] + content
    parsed = _parse_line(whole)
    return parsed[1] if parsed and parsed[0] == number else None


def _differ_by_one_bit(first: bytes, second: bytes) -> bool:
    if len(first) != len(second):
        return False
    return (int.from_bytes(first) ^ int.from_bytes(second)).bit_count() == 1


def _flip_bit(content: bytes, syndrome: int) -> bytes:
    """Return the content with the bit flipped that changes its CRC-32 by `syndrome`; unchanged if no bit does."""
    # A CRC is linear: a flipped bit changes it by a value that depends on its distance from the end alone.
    changes = [zlib.crc32(bytes([1 << bit])) ^ zlib.crc32(b"\0") for bit in range(8)]
    for place in range(len(content) - 1, -1, -1):
        if syndrome in changes:
            bit = 1 << changes.index(syndrome)
            return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
        changes = [zlib.crc32(b"\0", change ^ 0xFFFFFFFF) ^ 0xFFFFFFFF for change in changes]  # one byte further
    return content
