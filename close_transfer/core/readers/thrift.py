"""Thrift's compact protocol, in which Parquet files describe themselves."""

from typing import Any

# Types of a field. A truth value is part of its type, except in a list.
_STOP, _TRUE, _FALSE, _BYTE, _INTS, _DOUBLE, _BINARY, _LISTS, _STRUCT = 0, 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 12
_MAX_DEPTH = 16  # of structs and lists in each other; Parquet has seven


class TruncatedError(ValueError):
    """End of the bytes in the middle of a struct."""

    def __init__(self) -> None:
        super().__init__("it ends in the middle of its description")


class CompactReader:
    """Reader of structs from bytes.

    Attributes:
        place: number of bytes that were read.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0

    def read_struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields of a struct by number: numbers, truth values, bytes, lists, and structs.

        Raises:
            TruncatedError: if the bytes end before the struct.
            ValueError: if they are not a struct.
        """
        fields: dict[int, Any] = {}
        number = 0
        while True:
            head = self._take(1)[0]
            kind, step = head & 0x0F, head >> 4
            if kind == _STOP:
                return fields
            number = number + step if step else self._read_int()
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._read_value(kind, depth + 1)

    def _take(self, count: int) -> bytes:
        if self.place + count > len(self._content):
            raise TruncatedError
        self.place += count
        return self._content[self.place - count : self.place]

    def _read_varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("its description holds a number without end")

    def _read_int(self) -> int:
        value = self._read_varint()
        return (value >> 1) ^ -(value & 1)

    def _read_value(self, kind: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("its description is nested too deeply")
        if kind in _INTS:
            return self._read_int()
        if kind == _BINARY:
            return self._take(self._read_varint())
        if kind == _STRUCT:
            return self.read_struct(depth)
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._take(1)[0]
        if kind == _DOUBLE:
            return self._take(8)
        if kind in _LISTS:
            head = self._take(1)[0]
            count = self._read_varint() if head >> 4 == 15 else head >> 4
            return [self._read_value(head & 0x0F, depth + 1) for _ in range(count)]
        raise ValueError(f"its description has a field of type {kind}")
