"""Sequence of small records kept as bytes, so that millions take little more memory than their text."""

import marshal
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from close_transfer.core.arrays import IntArray

Record = TypeVar("Record")


class PackedRecords(Sequence[Record], Generic[Record]):
    """Records that are built from their fields each time they are read.

    A field is text, a number, a truth value, None, or a tuple of such fields. The bytes are never written to a file.
    """

    def __init__(self, build: Callable[..., Record]) -> None:
        """Start without records; `build` takes the fields of one."""
        self._build = build
        self._content = bytearray()
        self._starts = array("q", [0])

    def append_fields(self, *fields: Any) -> None:
        """Append a record with these fields."""
        self._content += marshal.dumps(fields)
        self._starts.append(len(self._content))

    def select(self, rows: IntArray) -> "PackedRecords[Record]":
        """Return a copy of these records, in the order of `rows`."""
        selected = PackedRecords(self._build)
        for row in rows:
            selected._content += self._content[self._starts[row] : self._starts[row + 1]]
            selected._starts.append(len(selected._content))
        return selected

    def read_fields(self, row: int) -> tuple[Any, ...]:
        """Return the fields of a record, without building it."""
        return marshal.loads(self._content[self._starts[row] : self._starts[row + 1]])

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, row: int) -> Record: ...

    @overload
    def __getitem__(self, row: slice) -> list[Record]: ...

    def __getitem__(self, row: int | slice) -> Record | list[Record]:
        if isinstance(row, slice):
            return [self._read(number) for number in range(len(self))[row]]
        return self._read(range(len(self))[row])

    def __iter__(self) -> Iterator[Record]:
        return map(self._read, range(len(self)))

    def _read(self, row: int) -> Record:
        return self._build(*self.read_fields(row))
