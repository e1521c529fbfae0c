"""Vectors in .npz archives and in flat faiss indices, read by their formats, so that no file runs code or fills the memory."""

import struct
import zipfile
from pathlib import Path

import numpy as np

from close_transfer.core.arrays import FloatArray
from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import get_unpack_limit, unpack_error

# Readers of .npy headers by version. The third differs from the second in the names of fields only, which vectors do not have.
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}
_FLAT = (b"IxFI", b"IxF2", b"IxFl")  # faiss's names of indices that hold the vectors themselves
# Width, number of rows, two unused numbers, whether it is trained, and the metric, little-endian and without padding.
_FAISS_HEADER = struct.Struct("<i q q q B i")


def read_npz(path: Path, name: str) -> FloatArray:
    """Read the only array of an .npz file.

    Raises:
        UserError: if it holds several arrays, unpacks to far more than its size, or its header does not fit its data.
        ValueError: if it is damaged; or another error of `zipfile` or numpy.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) != 1 or not members[0].filename.endswith(".npy"):
            names = ", ".join(repr(member.filename.removesuffix(".npy")[:40]) for member in members[:5])
            raise UserError(
                f"{name}={path}: holds {len(members)} arrays ({names}). Write the one with the vectors by numpy.save"
            )
        if members[0].file_size > get_unpack_limit(path):
            raise unpack_error(path)
        with archive.open(members[0]) as file:
            version = np.lib.format.read_magic(file)
            if version not in _HEADERS:
                raise ValueError(f"its version {version} is not one of numpy's")
            shape, is_fortran, dtype = _HEADERS[version](file)
            if dtype.hasobject:
                raise UserError(
                    f"{name}={path}: holds Python objects, which are not read. Give floats of shape (rows, width)"
                )
            num_bytes = int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize
            if num_bytes != members[0].file_size - file.tell():
                raise ValueError(f"its header describes {num_bytes:,} bytes")
            array = np.frombuffer(file.read(), dtype=dtype)
            return array.reshape(shape, order="F" if is_fortran else "C")


def map_faiss(path: Path, name: str) -> FloatArray:
    """Map the vectors of a flat faiss index into memory, float32 of shape (rows, width).

    Raises:
        UserError: if the index is of another type, which holds compressed vectors only.
        ValueError: if it is damaged.
    """
    with path.open("rb") as file:
        kind, header = file.read(4), file.read(_FAISS_HEADER.size)
        if kind not in _FLAT:
            raise UserError(
                f"{name}={path}: is not a flat faiss index (its type is {kind!r}), so it does not hold the vectors themselves. "
                "Give the vectors that it was made of, as .npy"
            )
        if len(header) < _FAISS_HEADER.size:
            raise ValueError("it ends in its header")
        width, num_rows, _, _, _, metric = _FAISS_HEADER.unpack(header)
        if metric > 1:  # such a metric has an argument
            file.read(4)
        size = file.read(8)
        offset = file.tell()
    num_bytes = 4 * width * num_rows
    if width <= 0 or num_rows <= 0 or len(size) < 8 or int.from_bytes(size, "little") != width * num_rows:
        raise ValueError("its header does not fit its data")
    if offset + num_bytes != path.stat().st_size:
        raise ValueError(f"its header describes {offset + num_bytes:,} bytes")
    return np.memmap(path, dtype="<f4", mode="r", offset=offset, shape=(num_rows, width))
