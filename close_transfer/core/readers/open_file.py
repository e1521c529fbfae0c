"""Opening of untrusted text files, plain or gzip-compressed; every problem is a `UserError`."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from close_transfer.core.errors import UserError

# Protection against decompression bombs: gzip shrinks captions to a third and annotations to a twentieth of their size.
_MAX_UNPACK_RATIO = 100
_MIN_UNPACK_LIMIT = 64 * 2**20  # bytes that any file may unpack to: a tiny file of one repeated text packs well

# First bytes of files that users often take for text.
_NON_TEXT_SIGNATURES = {
    b"\xff\xfe": "is UTF-16. Save it as UTF-8",
    b"\xfe\xff": "is UTF-16. Save it as UTF-8",
    b"\x1f\x8b": "is compressed by gzip. Give it a name that ends with .gz",
    b"PK\x03\x04": "is a zip archive or a spreadsheet. Unpack it, or save it as text",
}


def is_file(path: Path) -> bool:
    """Return True if the file exists; False also for a name that no file can have, such as one that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def get_unpack_limit(path: Path) -> int:
    """Return the number of bytes that a packed file may unpack to."""
    return max(_MIN_UNPACK_LIMIT, _MAX_UNPACK_RATIO * path.stat().st_size)


def unpack_error(path: Path) -> UserError:
    """Return the error for a file that unpacks to more than its limit."""
    return UserError(
        f"{path}: unpacks to more than {_MAX_UNPACK_RATIO} times its size, which no real text does. "
        "Check the file, or unpack it yourself"
    )


class _Unpacked(io.RawIOBase):
    """Decompressed stream of a .gz file that stops at a limit of its size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = gzip.open(path, "rb")  # noqa: SIM115  closed with this
        self._limit = get_unpack_limit(path)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._read += len(data)
        if self._read > self._limit:
            raise unpack_error(self._path)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_file(path: Path, setting: str, place: Callable[[], str] = str) -> Iterator[BinaryIO]:
    """Open a text file for reading its decompressed bytes.

    Args:
        path: the file; it is decompressed if its name ends with .gz.
        setting: name of the setting that holds the path, for messages.
        place: returns how far the file was read, for messages.

    Raises:
        UserError: if the file does not exist, is not text, or cannot be read to its end.
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
            f"{path}{place()}: the file is damaged or truncated ({reason}). Restore it from its source"
        ) from None
