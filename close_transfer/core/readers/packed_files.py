"""Check of files that another library will unpack as a whole: what they unpack to is counted, and then thrown away."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow

from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import get_unpack_limit, unpack_error

_PIECE = 2**20  # bytes in memory at a time
_MAX_LAYERS = 3  # of packed files in each other, as in a .tar.gz of .csv.gz

# First bytes of files that hold one packed file. The `datasets` library goes by them, not by the file's name.
_STREAMS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda file: pyarrow.CompressedInputStream(file, "zstd"),
    b"\x04\x22\x4d\x18": lambda file: pyarrow.CompressedInputStream(file, "lz4"),
}
# First bytes of archives that only other packages could read.
_OTHERS = {b"Rar!\x1a\x07": "RAR", b"7z\xbc\xaf\x27\x1c": "7z"}


class _Budget:
    """Number of bytes that a file may still unpack to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = get_unpack_limit(path)

    def spend(self, num_bytes: int) -> None:
        self._left -= num_bytes
        if self._left < 0:
            raise unpack_error(self._path)


def check_packed_file(path: Path) -> None:
    """Check a file if it is packed: gzip, bz2, xz, zstd, lz4, zip or tar, also one in another.

    Raises:
        UserError: if it unpacks to far more than its size, or is an archive of another kind.
        OSError, EOFError, ValueError, or an error of zlib, lzma, zipfile or tarfile: if it is damaged.
        RuntimeError: if it is a zip that needs a password or an unknown method.
    """
    with path.open("rb") as file:
        start = file.peek(max(map(len, _OTHERS)))
        for signature, name in _OTHERS.items():
            if start.startswith(signature):
                raise UserError(
                    f"{path}: is packed as {name}, which is not read. Unpack it, and give the unpacked files"
                )
        budget = _Budget(path)
        _count_stream(file, budget, 0)
    if zipfile.is_zipfile(path):
        _check_zip(path, budget)
    elif tarfile.is_tarfile(path):
        _check_tar(path, budget)


def _count_stream(file: io.BufferedReader, budget: _Budget, layer: int) -> None:
    """Spend what a file unpacks to, and what is packed in that; nothing if it is not packed."""
    start = file.peek(max(map(len, _STREAMS)))
    open_stream = next((open_ for signature, open_ in _STREAMS.items() if start.startswith(signature)), None)
    if open_stream is None:
        while layer and (piece := file.read(_PIECE)):
            budget.spend(len(piece))
        return
    if layer == _MAX_LAYERS:
        raise ValueError("it is packed too many times")
    with open_stream(file) as stream:
        _count_stream(io.BufferedReader(stream, _PIECE), budget, layer + 1)


def _check_zip(path: Path, budget: _Budget) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():  # none gives more than it says here
            budget.spend(member.file_size)
        for member in archive.infolist():
            with archive.open(member) as file:
                _count_stream(io.BufferedReader(file, _PIECE), budget, 0)  # type: ignore[arg-type]


def _check_tar(path: Path, budget: _Budget) -> None:
    with tarfile.open(path) as archive:
        for member in archive:
            budget.spend(member.size)  # also if it is sparse
            if member.isreg() and (file := archive.extractfile(member)) is not None:
                _count_stream(io.BufferedReader(file, _PIECE), budget, 0)  # type: ignore[arg-type]
