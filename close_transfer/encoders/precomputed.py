"""Vectors that were computed elsewhere, by any encoder: row i belongs to line i of the data file."""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
from safetensors import SafetensorError, safe_open

from close_transfer.config.components import PrecomputedConfig
from close_transfer.core.arrays import FloatArray, IntArray
from close_transfer.core.atomic_files import fingerprint, fingerprint_file
from close_transfer.core.errors import UserError
from close_transfer.encoders.vector_archives import map_faiss, read_npz

_ROWS_AT_ONCE = 65_536  # rows checked at a time, so that a memory-mapped file does not fill the memory
_FLOATS = ("F16", "F32", "F64")  # safetensors' names of the float types that numpy has; it lacks bfloat16

# Errors of numpy and safetensors for damaged files.
_DAMAGE = (
    ValueError, OSError, EOFError, SafetensorError, TypeError, OverflowError, MemoryError, SyntaxError, RecursionError, TokenError,
    zipfile.BadZipFile, zlib.error, RuntimeError,
)  # fmt: skip


def read_array(path: Path, name: str) -> FloatArray:
    """Read a matrix from .npy, .npz, .safetensors (the only array) or a flat faiss index, shape (rows, [k,] dim).

    A .npy and an index are memory-mapped.

    Args:
        path: the file.
        name: the setting that names it, for messages.

    Raises:
        UserError: if the file is missing, has another format or shape, or holds a number that is not finite.
    """
    if path.suffix not in _READERS:
        raise UserError(f"{name}={path}: cannot read {path.suffix or 'a file without extension'}. {_ADVICE}")
    try:
        if not path.is_file():
            raise UserError(f"{name}={path}: there is no such file. {_ADVICE}")
        array = _READERS[path.suffix](path, name)
    except UserError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name}={path}: the file is damaged or has another format ({reason}). Write it again with numpy.save or safetensors"
        ) from None
    if array.ndim not in (2, 3) or not array.size or not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f"{name}={path}: holds {str(array.dtype)[:80]} of shape {array.shape}. Give floats of shape (rows, width)"
        )
    for start in range(0, len(array), _ROWS_AT_ONCE):
        with np.errstate(over="ignore"):  # numbers too large for 32 bits become infinity, which is reported below
            block = np.asarray(array[start : start + _ROWS_AT_ONCE], dtype=np.float32)
        is_bad = ~np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if is_bad.any():
            raise UserError(
                f"{name}={path}: {int(is_bad.sum())} of rows {start} to {start + len(block) - 1} hold NaN or infinity, "
                f"first row {start + int(is_bad.argmax())}, as 32-bit numbers. Encode them again"
            )
    return array


def _read_aligned_array(path: str, name: str, num_lines: int) -> FloatArray:
    array = read_array(Path(path), name)
    if len(array) != num_lines:
        raise UserError(
            f"{name}={path} holds {len(array)} rows, but the data file has {num_lines} lines. Give one row per line, in order"
        )
    return array


def _map_array(path: Path, name: str) -> FloatArray:
    array = np.lib.format.open_memmap(path, mode="r")
    num_extra_bytes = path.stat().st_size - array.offset - array.nbytes
    if num_extra_bytes:
        raise UserError(
            f"{name}={path}: {num_extra_bytes:,} bytes follow the {array.shape} array that its header describes. "
            "Write all rows as one array with numpy.save"
        )
    return array


def _read_single_tensor(path: Path, name: str) -> FloatArray:
    with safe_open(path, framework="numpy") as file:
        keys = list(file.keys())
        if len(keys) != 1:
            raise UserError(
                f"{name}={path}: holds {len(keys)} tensors ({', '.join(repr(key[:40]) for key in keys[:5])}). Give a file with exactly one"
            )
        dtype = file.get_slice(keys[0]).get_dtype()
        if dtype not in _FLOATS:
            raise UserError(f"{name}={path}: holds {dtype}. Give one of {', '.join(_FLOATS)}")
        return file.get_tensor(keys[0])


_READERS: dict[str, Callable[[Path, str], FloatArray]] = {
    ".npy": _map_array,
    ".npz": read_npz,
    ".safetensors": _read_single_tensor,
    ".faiss": map_faiss,
    ".index": map_faiss,
}
_ADVICE = f"Give a file of one of the formats {', '.join(_READERS)}"


class PrecomputedEncoder:
    """Text and image vectors from files; anything that they lack raises `UserError`."""

    def __init__(self, config: PrecomputedConfig, num_lines: int, texts: Sequence[str | None] | None = None) -> None:
        """Read and check the files.

        Args:
            config: the files.
            num_lines: number of lines of the data file that the rows belong to.
            texts: the text of every line, None for a line that is left out; or None if no text vectors are needed.

        Raises:
            UserError: if a file is unusable, or counts or widths do not agree; names both.
        """
        if config.text_embeddings is None and config.image_embeddings is None:
            raise UserError(
                "clip=precomputed: no file of embeddings is named. Give clip.text_embeddings=FILE for training, "
                "clip.image_embeddings=FILE for testing, or both"
            )
        self._texts = self._images = None
        self._row_of_text: dict[str, int] = {}
        if config.text_embeddings is not None and texts is not None:
            self._texts = _read_aligned_array(config.text_embeddings, "clip.text_embeddings", num_lines)
            for row, text in enumerate(texts):
                if text is not None:
                    self._row_of_text.setdefault(text, row)
        if config.image_embeddings is not None:
            self._images = _read_aligned_array(config.image_embeddings, "clip.image_embeddings", num_lines)
        widths = [array.shape[-1] for array in (self._texts, self._images) if array is not None]
        if len(set(widths)) > 1:
            raise UserError(
                f"clip.text_embeddings are {widths[0]} wide and clip.image_embeddings {widths[1]}. Give embeddings of one encoder"
            )
        self.name = "precomputed"
        self.dim = int(widths[0]) if widths else 0
        files = [path for path in (config.text_embeddings, config.image_embeddings) if path]
        # Different files may hold vectors of one encoder, so only the width can show that encoders differ.
        self.fingerprint = f"precomputed-{self.dim}"
        self.text_key = self.image_key = fingerprint(fingerprint_file(Path(path)) for path in files)

    def count_cut(self, texts: Sequence[str]) -> int:
        """Return 0: texts that were encoded elsewhere cannot be checked here."""
        return 0

    def find_text_rows(self, texts: Sequence[str]) -> IntArray:
        """Return the row of each text; shape (texts,).

        Raises:
            UserError: if there are no text vectors, or none for a text.
        """
        if self._texts is None:
            raise UserError("clip=precomputed: text vectors are needed here. Give clip.text_embeddings=FILE")
        missing = list(dict.fromkeys(text for text in texts if text not in self._row_of_text))
        if missing:
            raise UserError(
                f"clip.text_embeddings has no row for {len(missing)} texts, the first is {missing[0]!r}. Give a data file "
                "with a line, and embeddings with a row, for every text"
            )
        return np.array([self._row_of_text[text] for text in texts], dtype=np.int64)

    @property
    def text_matrix(self) -> FloatArray:
        """Return all text vectors as they are in the file, shape (rows, dim)."""
        assert self._texts is not None
        return self._texts

    @property
    def image_matrix(self) -> FloatArray:
        """Return all image vectors as they are in the file, shape (rows, dim).

        Raises:
            UserError: if there are none.
        """
        if self._images is None:
            raise UserError("clip=precomputed: image vectors are needed here. Give clip.image_embeddings=FILE")
        return self._images
