"""Vectors that were encoded elsewhere, by any encoder: row i belongs to line i of the data file."""

from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
from safetensors import SafetensorError, safe_open

from close_transfer.config.components import PrecomputedConfig
from close_transfer.core.arrays import FloatArray, IntArray
from close_transfer.core.atomic_files import fingerprint, fingerprint_file
from close_transfer.core.errors import UserError

_ROWS_AT_ONCE = 65_536
_FLOATS = ("F16", "F32", "F64")  # safetensors' names of what numpy has too

# What numpy and safetensors raise for bytes that are not theirs.
_DAMAGE = (
    ValueError, OSError, EOFError, SafetensorError, TypeError, OverflowError, MemoryError, SyntaxError, RecursionError, TokenError,
)  # fmt: skip


def read_array(path: Path, name: str) -> FloatArray:
    """A matrix from .npy (memory-mapped) or .safetensors (its only tensor), shape (rows, [k,] dim).

    Args:
        path: the file.
        name: the setting it came from, for messages.

    Raises:
        UserError: if the file is missing, of another format, of another shape, or holds a number
            that is not finite.
    """
    if path.suffix not in (".npy", ".safetensors"):
        raise UserError(
            f"{name}={path}: cannot read {path.suffix or 'a file without extension'}; allowed are .npy and .safetensors"
        )
    try:
        if not path.is_file():
            raise UserError(f"{name}={path}: there is no such file; give a .npy or .safetensors file")
        array = _map_array(path, name) if path.suffix == ".npy" else _read_single_tensor(path, name)
    except UserError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name}={path}: the file is damaged or of another format ({reason}); write it again with numpy.save or safetensors"
        ) from None
    if array.ndim not in (2, 3) or not array.size or not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f"{name}={path}: holds {str(array.dtype)[:80]} of shape {array.shape}; it must hold floats of shape (rows, width)"
        )
    for start in range(0, len(array), _ROWS_AT_ONCE):
        with np.errstate(over="ignore"):  # what 32 bits cannot hold becomes infinity
            block = np.asarray(array[start : start + _ROWS_AT_ONCE], dtype=np.float32)
        is_bad = ~np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if is_bad.any():
            raise UserError(
                f"{name}={path}: {int(is_bad.sum())} of rows {start} to {start + len(block) - 1} hold NaN or infinity, "
                f"first row {start + int(is_bad.argmax())}, as numbers of 32 bits; encode them again"
            )
    return array


def _read_aligned_array(path: str, name: str, num_lines: int) -> FloatArray:
    array = read_array(Path(path), name)
    if len(array) != num_lines:
        raise UserError(
            f"{name}={path} holds {len(array)} rows, but the data file has {num_lines} lines; row i must belong to line i"
        )
    return array


def _map_array(path: Path, name: str) -> FloatArray:
    array = np.lib.format.open_memmap(path, mode="r")
    num_extra_bytes = path.stat().st_size - array.offset - array.nbytes
    if num_extra_bytes:
        raise UserError(
            f"{name}={path}: {num_extra_bytes:,} bytes follow the {array.shape} array that its header tells of; "
            "a file holds one array, so write all rows as one with numpy.save"
        )
    return array


def _read_single_tensor(path: Path, name: str) -> FloatArray:
    with safe_open(path, framework="numpy") as file:
        keys = list(file.keys())
        if len(keys) != 1:
            raise UserError(
                f"{name}={path}: holds {len(keys)} tensors ({', '.join(keys[:5])}); it must hold exactly one"
            )
        dtype = file.get_slice(keys[0]).get_dtype()
        if dtype not in _FLOATS:
            raise UserError(f"{name}={path}: holds {dtype}; it must hold one of {', '.join(_FLOATS)}")
        return file.get_tensor(keys[0])


class PrecomputedEncoder:
    """Text and image vectors from files; asked for anything that is not there, it says so."""

    def __init__(self, config: PrecomputedConfig, num_lines: int, texts: Sequence[str] | None = None) -> None:
        """Reads and checks the files.

        Args:
            config: the files.
            num_lines: lines of the data file that the rows belong to.
            texts: the text of every line, or None where no text vector is needed.

        Raises:
            UserError: if a file is unusable, or counts or widths do not agree (both are named).
        """
        if config.text_embeddings is None and config.image_embeddings is None:
            raise UserError(
                "clip=precomputed: give clip.text_embeddings=FILE for training, clip.image_embeddings=FILE for testing, or both"
            )
        self._texts = self._images = None
        self._row_of_text: dict[str, int] = {}
        if config.text_embeddings is not None and texts is not None:
            self._texts = _read_aligned_array(config.text_embeddings, "clip.text_embeddings", num_lines)
            for row, text in enumerate(texts):
                self._row_of_text.setdefault(text, row)
        if config.image_embeddings is not None:
            self._images = _read_aligned_array(config.image_embeddings, "clip.image_embeddings", num_lines)
        widths = [array.shape[-1] for array in (self._texts, self._images) if array is not None]
        if len(set(widths)) > 1:
            raise UserError(
                f"clip.text_embeddings are {widths[0]} wide and clip.image_embeddings {widths[1]}; both must come from one encoder"
            )
        self.name = "precomputed"
        self.dim = int(widths[0]) if widths else 0
        files = [path for path in (config.text_embeddings, config.image_embeddings) if path]
        # Vectors of one encoder may come in any number of files, so the width is all that can be checked.
        self.fingerprint = f"precomputed-{self.dim}"
        self.text_key = self.image_key = fingerprint(fingerprint_file(Path(path)) for path in files)

    def count_cut(self, texts: Sequence[str]) -> int:
        """Unknown here: whoever encoded the texts could have counted."""
        return 0

    def find_text_rows(self, texts: Sequence[str]) -> IntArray:
        """Row of each text; shape (texts,).

        Raises:
            UserError: if there are no text vectors, or none for a text.
        """
        if self._texts is None:
            raise UserError("clip=precomputed: text vectors are needed here; give clip.text_embeddings=FILE")
        missing = [text for text in texts if text not in self._row_of_text]
        if missing:
            raise UserError(
                f"clip.text_embeddings has no row for {len(missing)} texts, the first is {missing[0]!r}; every text must be a line of the data file"
            )
        return np.array([self._row_of_text[text] for text in texts], dtype=np.int64)

    @property
    def text_matrix(self) -> FloatArray:
        """All text vectors as they were given, shape (rows, dim)."""
        assert self._texts is not None
        return self._texts

    @property
    def image_matrix(self) -> FloatArray:
        """All image vectors as they were given, shape (rows, dim).

        Raises:
            UserError: if there are none.
        """
        if self._images is None:
            raise UserError("clip=precomputed: image vectors are needed here; give clip.image_embeddings=FILE")
        return self._images
