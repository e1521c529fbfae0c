"""Vectors on disk under a key of all that decides them, encoded where they are missing.

A cache is a folder of shards with a manifest that lists them with their checksums. A shard is renamed
into place before the manifest names it, so a kill loses one shard at most; a shard that is damaged or
belongs elsewhere is found by its checksum and encoded again. What is encoded together follows from the
order of the items and not from what a kill left, so the shards are the same to the last bit.
"""

import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from close_transfer.config.components import EmbeddingCacheConfig
from close_transfer.core.arrays import Float32Array, FloatArray, IntArray
from close_transfer.core.atomic_files import (
    atomic_path,
    fingerprint_file,
    read_json,
    remove_stale,
    report_write_errors,
    write_json,
)
from close_transfer.core.errors import UserError

_logger = logging.getLogger(__name__)


_AT_ONCE = 1024  # items that the encoder is given together
_FORMAT = 1


class EmbeddingMatrix:
    """Read-only raw vectors of unique items.

    Attributes:
        row_of: row of each item by its name (a text, or an image's key).
    """

    def __init__(self, blocks: Sequence[FloatArray], row_of: dict[str, int]) -> None:
        """`blocks` are matrices (rows, [k,] dim) that are taken as one, in order."""
        self._blocks = list(blocks)
        self._starts = np.cumsum([0, *(len(block) for block in blocks)])
        self.row_of = row_of

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._blocks[0].shape[-1])

    @property
    def vectors_per_row(self) -> int:
        """One, or the cells of a grid."""
        return int(np.prod(self._blocks[0].shape[1:-1]))

    def gather(self, rows: IntArray) -> Float32Array:
        """Vectors of the rows, shape (rows, [k,] dim), float32 whatever the precision on disk."""
        result = np.empty((len(rows), *self._blocks[0].shape[1:]), dtype=np.float32)
        block_of_row = np.searchsorted(self._starts, rows, side="right") - 1
        for block in np.unique(block_of_row):
            in_block = block_of_row == block
            result[in_block] = self._blocks[block][rows[in_block] - self._starts[block]]
        return result


class EmbeddingCache:
    """The vectors of one encoder for texts, or for images, in one folder."""

    def __init__(self, config: EmbeddingCacheConfig, key: str, description: str) -> None:
        """Opens or creates the cache of `key`.

        Args:
            config: the folder that holds one folder a key, the precision on disk, rows a shard.
            key: of all that decides a vector but the item itself.
            description: what a user should read in the manifest.
        """
        self.folder = Path(config.folder) / f"{key[:24]}-{config.dtype}"
        self._key = key
        self._dtype = np.dtype(config.dtype)
        self._shard_rows = config.shard_rows
        self._description = description
        self.num_encoded = 0
        self.num_damaged = 0

    def load_or_encode(
        self, names: Sequence[str], digests: Sequence[bytes], encode: Callable[[Sequence[int]], Float32Array], unit: str
    ) -> EmbeddingMatrix:
        """Vectors of all items; those that are not in the cache are encoded and kept.

        Args:
            names: distinct names of the items.
            digests: 16 bytes an item that stand for its content.
            encode: gives raw vectors, shape (items, [k,] dim), of the items at these positions.
            unit: what an item is called in the progress bar.

        Raises:
            UserError: if the encoder gives a number that is not finite.
            WriteError: if the cache cannot be written.
        """
        with self._lock():
            shards = self._find_intact_shards()
            row_of: dict[bytes, int] = {}
            num_rows = 0
            for shard in shards:
                num_rows = _number_rows(row_of, _read_digests(self.folder / shard["keys"]), num_rows)
            num_missing = len(set(digests) - row_of.keys())
            self._report_damage(num_missing, unit)
            with tqdm(
                total=num_missing, unit=unit, desc=f"encoding {unit}s", disable=not num_missing, leave=False
            ) as bar:
                # Chunks are of all items and not of the missing ones, so that kills move no boundary.
                for start in range(0, len(digests), self._shard_rows):
                    end = min(start + self._shard_rows, len(digests))
                    chunk = {digests[i]: i for i in range(start, end) if digests[i] not in row_of}
                    if not chunk:
                        continue
                    positions, parts = list(chunk.values()), []
                    for batch_start in range(0, len(positions), _AT_ONCE):
                        parts.append(encode(positions[batch_start : batch_start + _AT_ONCE]))
                        bar.update(len(parts[-1]))
                    shards.append(self._write_shard(np.concatenate(parts), list(chunk)))
                    self._write_manifest(shards)
                    num_rows = _number_rows(row_of, list(chunk), num_rows)
            self.num_encoded = num_missing
            blocks = [np.load(self.folder / shard["vectors"], mmap_mode="r") for shard in shards]
        return EmbeddingMatrix(blocks, {name: row_of[digest] for name, digest in zip(names, digests, strict=True)})

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keeps other processes out; the lock ends with the process that holds it, however that ends."""
        with report_write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                _logger.info("waiting for another process that writes to %s", self.folder)
                lock.acquire()
        try:
            remove_stale(self.folder)
            yield
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
        except (ValueError, KeyError, TypeError, OSError):  # a manifest that nobody here wrote
            self.num_damaged = max(1, len(list(self.folder.glob("shard-*.vectors.npy"))))
            return []
        return intact

    def _report_damage(self, num_missing: int, unit: str) -> None:
        if self.num_damaged:
            _logger.warning(
                "note: %s shards of vectors in %s were incomplete or damaged; %s %ss are encoded now",
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

    def _write_shard(self, vectors: Float32Array, digests: Sequence[bytes]) -> dict:
        if not np.isfinite(vectors).all():
            raise UserError(
                f"the encoder ({self._description}) gave NaN or infinity for "
                f"{int((~np.isfinite(vectors)).any(axis=-1).sum())} items; its weights are damaged or it overflowed"
            )
        name = "shard-" + hashlib.sha256(b"".join(digests)).hexdigest()[:16]
        shard: dict = {"rows": len(vectors)}
        arrays = {
            "vectors": vectors.astype(self._dtype, copy=False),
            "keys": np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16),
        }
        for part, array in arrays.items():
            shard[part] = f"{name}.{part}.npy"
            content = io.BytesIO()  # numpy's own writing tells of a full disk without an error number
            np.save(content, array)
            with atomic_path(self.folder / shard[part]) as temporary:
                temporary.write_bytes(content.getbuffer())
            shard[f"{part}_sha256"] = fingerprint_file(self.folder / shard[part])
        return shard

    def _write_manifest(self, shards: list[dict]) -> None:
        manifest = {"format": _FORMAT, "key": self._key, "encoder": self._description, "shards": shards}
        write_json(self.folder / "manifest.json", manifest)


def _number_rows(row_of: dict[bytes, int], digests: Sequence[bytes], start: int) -> int:
    """Enters the rows of a shard that begins at `start`; where the next one begins."""
    row_of.update(zip(digests, range(start, start + len(digests)), strict=True))
    return start + len(digests)


def _read_digests(path: Path) -> list[bytes]:
    return [row.tobytes() for row in np.load(path)]
