"""Opens files that anyone may have written, packed or not; what is wrong with one is a `UserError`."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from close_transfer.core.errors import UserError

# Captions pack to a third, annotations to a twentieth; what unpacks to a hundred times its size is neither.
_MAX_UNPACK_RATIO = 100
_MIN_UNPACK_LIMIT = 64 * 2**20

# First bytes of what is often taken for text.
_NON_TEXT_SIGNATURES = {
    b"\xff\xfe": "is UTF-16; write it again as UTF-8",
    b"\xfe\xff": "is UTF-16; write it again as UTF-8",
    b"\x1f\x8b": "is packed by gzip; give it a name that ends with .gz",
    b"PK\x03\x04": "is a zip archive or a spreadsheet; unpack it, or save it as text",
}


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is no error."""
    try:
        return path.is_file()
    except OSError:
        return False


class _Unpacked(io.RawIOBase):
    """The bytes of a .gz file, until they are too many for what was packed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = gzip.open(path, "rb")  # noqa: SIM115  closed with this
        self._limit = max(_MIN_UNPACK_LIMIT, _MAX_UNPACK_RATIO * path.stat().st_size)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._read += len(data)
        if self._read > self._limit:
            raise UserError(
                f"{self._path}: unpacks to more than {_MAX_UNPACK_RATIO} times its size, which no text does; it is not unpacked further"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_file(path: Path, setting: str, place: Callable[[], str] = str) -> Iterator[BinaryIO]:
    """The unpacked bytes of a file of text.

    Args:
        path: the file; a name that ends with .gz says that it is packed.
        setting: what the user gave it as, for messages.
        place: says how far it was read.

    Raises:
        UserError: if there is no such file, it is no text, or cannot be read to its end.
    """
    if not is_file(path):
        raise UserError(f"{setting}={path}: there is no such file")
    try:
        raw: Any = io.BufferedReader(_Unpacked(path), 2**20) if path.suffix == ".gz" else path.open("rb")
        with raw as file:
            start = file.peek(4)
            for signature, problem in _NON_TEXT_SIGNATURES.items():
                if start.startswith(signature):
                    raise UserError(f"{setting}={path}: {problem}")
            yield file
    except (EOFError, zlib.error, OSError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{path}{place()}: the file is damaged or cut short ({reason}); restore it from its source"
        ) from None
