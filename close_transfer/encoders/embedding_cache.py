"""Cache of embeddings on disk, under a key of everything that determines them; missing ones are encoded.

A cache is a folder of shards with a manifest that lists them with their checksums. A shard is renamed
into place before the manifest names it, so a kill loses one shard at most. A damaged or foreign shard is detected by
its checksum and encoded again. Batches depend only on the order of the items and not on the shards that a kill left,
so the shards are always the same to the last bit.
"""

import errno
import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from tqdm import tqdm

from close_transfer.config.components import EmbeddingCacheConfig
from close_transfer.core.arrays import Float32Array, FloatArray, IntArray
from close_transfer.core.atomic_files import (
    WriteError,
    atomic_path,
    error_number,
    fingerprint_file,
    read_json,
    remove_stale,
    report_write_errors,
    write_json,
)
from close_transfer.core.digests import Digests, find_first_equal, is_first_equal
from close_transfer.core.errors import UserError

_logger = logging.getLogger(__name__)


_AT_ONCE = 1024  # items per group for the encoder; the progress bar advances this often
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)  # the folder belongs to another user, or its disk is read-only
_FORMAT = 1  # version of the manifest; another one is encoded again


class EmbeddingMatrix:
    """Read-only raw vectors of unique items."""

    def __init__(self, blocks: Sequence[FloatArray]) -> None:
        """Concatenate matrices of one dtype and of shape (rows, [k,] dim), in order, without copying them."""
        self._blocks = [np.ascontiguousarray(block) for block in blocks]
        self._starts = np.cumsum([0, *(len(block) for block in blocks)])

    @property
    def dim(self) -> int:
        """Return the width of the vectors."""
        return int(self._blocks[0].shape[-1])

    @property
    def vectors_per_row(self) -> int:
        """Return the number of vectors per row: 1, or the cells of a grid."""
        return int(np.prod(self._blocks[0].shape[1:-1]))

    def gather(self, rows: IntArray) -> Float32Array:
        """Return the vectors of the rows, shape (rows, [k,] dim), as float32 for any precision on disk.

        Raises:
            IndexError: if there is no such row.
        """
        first, memory, cells = self._blocks[0], self._memory, self._cells
        if len(rows) and not 0 <= rows.min() <= rows.max() < self._starts[-1]:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self._starts[-1]}")
        places = self._places[self._find_blocks(rows)] + rows * (memory.itemsize * len(cells))
        # One index per row is faster than a matrix with one column.
        found = memory[places if len(cells) == 1 else places[:, None] + cells]
        return found.view(first.dtype).reshape(len(rows), *first.shape[1:]).astype(np.float32, copy=False)

    @cached_property
    def _memory(self) -> NDArray[np.void]:
        """Return the memory from the lowest block on; item i is the vector that begins at byte i.

        So numpy reads from all blocks in one call. Batches have more blocks than rows, and a call per block takes
        five times as long.
        """
        filled = [block for block in self._blocks if len(block)] or self._blocks[:1]
        lowest = min(filled, key=lambda block: block.ctypes.data)
        vectors = lowest.reshape(-1, self.dim).view(f"V{self.dim * lowest.itemsize}")[:, 0]
        num_bytes = max(block.ctypes.data + block.nbytes for block in filled) - lowest.ctypes.data
        shape = (max(num_bytes - vectors.itemsize + 1, 0),)
        return as_strided(vectors, shape=shape, strides=(1,), writeable=False)

    def _find_blocks(self, rows: IntArray) -> IntArray:
        """Return the block of each row. Shards are equally long but the last, and a division is faster than a search."""
        if self._block_rows:
            return rows // self._block_rows
        return np.searchsorted(self._starts, rows, side="right") - 1

    @cached_property
    def _block_rows(self) -> int:
        """Return the number of rows of every block but the last, which may have fewer; 0 if they differ."""
        first, *others = [len(block) for block in self._blocks]
        is_regular = all(size == first for size in others[:-1]) and all(size <= first for size in others)
        return first if is_regular else 0

    @cached_property
    def _cells(self) -> IntArray:
        """Return the bytes from a row's first vector to each of its vectors."""
        return np.arange(self.vectors_per_row) * self._memory.itemsize

    @cached_property
    def _places(self) -> IntArray:
        """Return the byte of `_memory` at which each block's row 0 would be, if rows were counted from the first block."""
        first, memory = self._blocks[0], self._memory
        assert all((block.dtype, block.shape[1:]) == (first.dtype, first.shape[1:]) for block in self._blocks)
        addresses = np.array([block.ctypes.data for block in self._blocks])
        return addresses - memory.ctypes.data - self._starts[:-1] * (memory.itemsize * self.vectors_per_row)


class EmbeddingCache:
    """Cache of one encoder's vectors of texts, or of images, in one folder."""

    def __init__(self, config: EmbeddingCacheConfig, key: str, description: str) -> None:
        """Open or create the cache of `key`.

        Args:
            config: the folder with one subfolder per key, the precision on disk, and the rows per shard.
            key: fingerprint of everything that determines a vector except the item itself.
            description: description of the encoder, for users who read the manifest.
        """
        self.folder = Path(config.folder) / f"{key[:24]}-{config.dtype}"
        self._key = key
        self._dtype = np.dtype(config.dtype)
        self._shard_rows = config.shard_rows
        self._description = description
        self.num_encoded = 0
        self.num_damaged = 0

    def load_or_encode(
        self,
        digests: Digests,
        encode: Callable[[Sequence[IntArray]], Iterator[Float32Array]],
        unit: str,
    ) -> tuple[EmbeddingMatrix, IntArray]:
        """Return the vectors, and the row of each item; items that are not in the cache are encoded and added to it.

        Args:
            digests: hash of each item's content.
            encode: yields raw vectors, shape (items, [k,] dim), of each group of positions.
            unit: noun for an item, for the progress bar.

        Raises:
            UserError: if the encoder returns a number that is not finite.
            WriteError: if the cache cannot be written; one that has all items is only read.
        """
        with self._lock() as is_writable:
            shards = self._find_intact_shards()
            stored = [np.load(self.folder / shard["keys"]) for shard in shards]
            missing = np.flatnonzero(_find_rows(stored, digests) < 0)
            missing = missing[is_first_equal(digests[missing])]
            num_missing = len(missing)
            self._report_damage(num_missing, unit)
            if num_missing and not is_writable:
                raise UserError(
                    f"{self.folder}: the cache lacks {num_missing:,} {unit}s and cannot be written to. Give another folder "
                    "with embedding_cache.folder=FOLDER, or ask the owner for permission"
                )
            with tqdm(
                total=num_missing, unit=unit, desc=f"encoding {unit}s", disable=not num_missing, leave=False
            ) as bar:
                chunks = list(self._divide(missing))
                vectors = encode([group for groups in chunks for group in groups])
                for groups in chunks:
                    parts = []
                    for _ in groups:
                        parts.append(next(vectors))
                        bar.update(len(parts[-1]))
                    stored.append(digests[np.concatenate(groups)])
                    shards.append(self._write_shard(np.concatenate(parts), stored[-1]))
                    self._write_manifest(shards)
                next(vectors, None)  # runs what the encoder does after the last group, such as a message
            self.num_encoded = num_missing
            blocks = [np.load(self.folder / shard["vectors"], mmap_mode="r") for shard in shards]
        return EmbeddingMatrix(blocks), _find_rows(stored, digests)

    def _divide(self, missing: IntArray) -> Iterator[list[IntArray]]:
        """Yield the positions of missing items, in groups to encode at once, a list of groups per shard."""
        # Chunks divide all items, not only the missing ones, so that kills do not move their boundaries.
        chunks, firsts = np.unique(missing // self._shard_rows, return_index=True)
        for positions in np.split(missing, firsts[1:]) if len(chunks) else []:
            yield [positions[first : first + _AT_ONCE] for first in range(0, len(positions), _AT_ONCE)]

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Keep other processes out, and yield True; yield False for a cache that may be read but not written.

        The operating system frees the lock when the process ends, even by a kill. The cache of another user needs no lock to be
        read, because shards and manifest are renamed into place and the manifest has their checksums.
        """
        lock = FileLock(self.folder / "lock")
        is_writable = True
        try:
            with report_write_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    lock.acquire(blocking=False)
                except Timeout:
                    _logger.info("waiting for another process that writes to %s", self.folder)
                    lock.acquire()
        except WriteError as error:
            if (
                error_number(error.__cause__ or error) not in _READ_ONLY
                or not (self.folder / "manifest.json").is_file()
            ):
                raise
            is_writable = False
        try:
            if is_writable:
                remove_stale(self.folder)
            yield is_writable
        finally:
            lock.release()

    def _find_intact_shards(self) -> list[dict]:
        manifest = self.folder / "manifest.json"
        if not manifest.is_file():
            self.num_damaged = len(list(self.folder.glob("shard-*.vectors.npy")))
            return []
        try:
            content = read_json(manifest)
            if (content["key"], content["format"]) != (self._key, _FORMAT):
                self.num_damaged = len(content["shards"])
                return []
            intact = [shard for shard in content["shards"] if self._is_intact(shard)]
            self.num_damaged = len(content["shards"]) - len(intact)
        except (ValueError, KeyError, TypeError, OSError):  # not a manifest that this class wrote
            self.num_damaged = max(1, len(list(self.folder.glob("shard-*.vectors.npy"))))
            return []
        return intact

    def _report_damage(self, num_missing: int, unit: str) -> None:
        if self.num_damaged:
            _logger.warning(
                "note: %s shards of vectors in %s were incomplete or damaged; encoding %s %ss",
                f"{self.num_damaged:,}",
                self.folder,
                f"{num_missing:,}",
                unit,
            )

    def _is_intact(self, shard: dict) -> bool:
        return all(
            (self.folder / shard[part]).is_file()
            and fingerprint_file(self.folder / shard[part]) == shard[f"{part}_sha256"]
            for part in ("vectors", "keys")
        )

    def _write_shard(self, vectors: Float32Array, digests: Digests) -> dict:
        if not np.isfinite(vectors).all():
            raise UserError(
                f"the encoder ({self._description}) returned NaN or infinity for "
                f"{int((~np.isfinite(vectors)).any(axis=-1).sum())} items: its weights are damaged, or it overflowed. "
                "Download or copy the weights again; if clip.precision was fp16 or bf16, give clip.precision=fp32"
            )
        name = "shard-" + hashlib.sha256(digests.tobytes()).hexdigest()[:16]
        shard: dict = {"rows": len(vectors)}
        arrays = {
            "vectors": vectors.astype(self._dtype, copy=False),
            "keys": digests,
        }
        for part, array in arrays.items():
            shard[part] = f"{name}.{part}.npy"
            content = io.BytesIO()  # numpy reports a full disk without an error number if it writes the file itself
            np.save(content, array)
            with atomic_path(self.folder / shard[part]) as temporary:
                temporary.write_bytes(content.getbuffer())
            shard[f"{part}_sha256"] = fingerprint_file(self.folder / shard[part])
        return shard

    def _write_manifest(self, shards: list[dict]) -> None:
        manifest = {"format": _FORMAT, "key": self._key, "encoder": self._description, "shards": shards}
        write_json(self.folder / "manifest.json", manifest)


def _find_rows(stored: Sequence[Digests], wanted: Digests) -> IntArray:
    """Return the row of each wanted digest among the stored ones, -1 if it is not there; of equal ones, the last."""
    both = np.concatenate([*(part[::-1] for part in reversed(stored)), wanted])
    num_stored = len(both) - len(wanted)
    first_equal = find_first_equal(both)[num_stored:]
    return np.where(first_equal < num_stored, num_stored - 1 - first_equal, -1)
