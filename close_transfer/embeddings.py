"""Every text and picture is encoded once and kept: raw vectors on disk, read by memory map.

What is kept is un-normalised and free of noise, under a key of everything that decides it: the
encoder's weights and preprocessing, and the text itself. A store is a folder of shards with a
manifest that lists them with their checksums. A shard is renamed into place before the manifest
names it, so a kill loses one shard at most; a shard that is damaged or belongs elsewhere is found by
its checksum and encoded again.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from close_transfer.config import StoreConfig
from close_transfer.encoders import AnyEncoder, PrecomputedEncoder
from close_transfer.errors import UserError
from close_transfer.examples import Example, ImageRef
from close_transfer.files import atomic_path, file_fingerprint, read_json, write_json

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

_SHARD_ROWS = 16_384
_FORMAT = 1


class EmbeddingTable:
    """Read-only raw vectors of unique items.

    Attributes:
        row_of: row of each item by its name (a text, or a picture's key).
    """

    def __init__(self, blocks: Sequence[NDArray[np.floating]], row_of: dict[str, int]) -> None:
        """`blocks` are matrices (rows, [k,] dim) that are taken as one, in order."""
        self._blocks = list(blocks)
        self._starts = np.cumsum([0, *(len(block) for block in blocks)])
        self.row_of = row_of

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._blocks[0].shape[-1])

    def gather(self, rows: Rows) -> Floats:
        """Vectors of the rows, shape (rows, [k,] dim), float32 whatever the precision on disk."""
        result = np.empty((len(rows), *self._blocks[0].shape[1:]), dtype=np.float32)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner):
            mine = owner == number
            result[mine] = self._blocks[number][rows[mine] - self._starts[number]]
        return result


@dataclass(frozen=True)
class SceneVectors:
    """The vector of every example's scene: the mean of its texts' raw vectors, or its picture's.

    Attributes:
        table: where the raw vectors are.
        rows: rows of all examples one after the other, shape (total,).
        starts: where each example's rows begin and the last one's end, shape (examples + 1,).
    """

    table: EmbeddingTable
    rows: Rows
    starts: Rows

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, examples: Rows) -> Floats:
        """Raw vectors of those examples, averaged before any normalising; (examples, [k,] dim)."""
        counts = self.starts[examples + 1] - self.starts[examples]
        wanted = np.concatenate([self.rows[self.starts[e] : self.starts[e + 1]] for e in examples])
        vectors = self.table.gather(wanted)
        if len(wanted) == len(examples):
            return vectors
        firsts = np.cumsum(counts) - counts
        sums: Floats = np.add.reduceat(vectors, firsts, axis=0)
        sums /= counts.reshape(-1, *[1] * (vectors.ndim - 1))
        return sums


class EmbeddingStore:
    """The vectors of one encoder for texts, or for pictures, in one folder."""

    def __init__(self, folder: Path, key: str, dtype: str, description: str) -> None:
        """Opens or creates the store of `key` under `folder`.

        Args:
            folder: holds one folder a key.
            key: of all that decides a vector but the item itself.
            dtype: "float32" or "float16", on disk.
            description: what a user should read in the manifest.
        """
        self.folder = folder / f"{key[:24]}-{dtype}"
        self._key = key
        self._dtype = np.dtype(dtype)
        self._description = description
        self.num_encoded = 0
        self.num_damaged = 0

    def table(
        self, names: Sequence[str], digests: Sequence[bytes], encode: Callable[[Sequence[int]], Floats], unit: str
    ) -> EmbeddingTable:
        """Vectors of all items; those that are not in the store are encoded and kept.

        Args:
            names: distinct names of the items.
            digests: 16 bytes an item that stand for its content.
            encode: gives raw vectors, shape (items, [k,] dim), of the items at these positions.
            unit: what an item is called in the progress bar.

        Raises:
            UserError: if the encoder gives a number that is not finite.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            shards = self._intact_shards()
            known = {digest for shard in shards for digest in _digests(self.folder / shard["keys"])}
            missing = [i for i, digest in enumerate(digests) if digest not in known]
            with tqdm(total=len(missing), unit=unit, desc=f"encoding {unit}s", disable=not missing, leave=False) as bar:
                for start in range(0, len(missing), _SHARD_ROWS):
                    chunk = missing[start : start + _SHARD_ROWS]
                    parts = []
                    for first in range(0, len(chunk), 1024):
                        parts.append(encode(chunk[first : first + 1024]))
                        bar.update(len(parts[-1]))
                    shards.append(self._write(np.concatenate(parts), [digests[i] for i in chunk]))
                    self._write_manifest(shards)
            self.num_encoded = len(missing)
        return self._read(shards, names, digests)

    def _intact_shards(self) -> list[dict]:
        manifest = self.folder / "manifest.json"
        if not manifest.is_file():
            return []
        listed = read_json(manifest)
        if listed.get("key") != self._key or listed.get("format") != _FORMAT:
            self.num_damaged = len(listed.get("shards", []))
            return []
        intact = [shard for shard in listed["shards"] if self._is_intact(shard)]
        self.num_damaged = len(listed["shards"]) - len(intact)
        return intact

    def _is_intact(self, shard: dict) -> bool:
        return all(
            (self.folder / shard[part]).is_file()
            and file_fingerprint(self.folder / shard[part]) == shard[f"{part}_sha256"]
            for part in ("vectors", "keys")
        )

    def _write(self, vectors: Floats, digests: Sequence[bytes]) -> dict:
        if not np.isfinite(vectors).all():
            raise UserError(
                f"the encoder ({self._description}) gave NaN or infinity for {int((~np.isfinite(vectors)).any(axis=-1).sum())} items; its weights are damaged or it overflowed"
            )
        name = "shard-" + hashlib.sha256(b"".join(digests)).hexdigest()[:16]
        shard: dict = {"rows": len(vectors)}
        arrays = {
            "vectors": vectors.astype(self._dtype, copy=False),
            "keys": np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16),
        }
        for part, array in arrays.items():
            shard[part] = f"{name}.{part}.npy"
            with atomic_path(self.folder / shard[part]) as temporary, temporary.open("wb") as file:
                np.save(file, array)
            shard[f"{part}_sha256"] = file_fingerprint(self.folder / shard[part])
        return shard

    def _write_manifest(self, shards: list[dict]) -> None:
        manifest = {"format": _FORMAT, "key": self._key, "encoder": self._description, "shards": shards}
        write_json(self.folder / "manifest.json", manifest)

    def _read(self, shards: list[dict], names: Sequence[str], digests: Sequence[bytes]) -> EmbeddingTable:
        name_of = dict(zip(digests, names, strict=True))
        row_of: dict[str, int] = {}
        start = 0
        for shard in shards:
            for row, digest in enumerate(_digests(self.folder / shard["keys"]), start=start):
                if digest in name_of:
                    row_of[name_of[digest]] = row
            start += shard["rows"]
        blocks = [np.load(self.folder / shard["vectors"], mmap_mode="r") for shard in shards]
        return EmbeddingTable(blocks, row_of)


def _digests(path: Path) -> list[bytes]:
    return [row.tobytes() for row in np.load(path)]


def _digest(content: str) -> bytes:
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def text_table(encoder: AnyEncoder, texts: Iterable[str], config: StoreConfig) -> EmbeddingTable:
    """Raw vectors of all distinct texts.

    Raises:
        UserError: if a precomputed encoder lacks one of them.
    """
    distinct = list(dict.fromkeys(texts))
    if isinstance(encoder, PrecomputedEncoder):
        rows = encoder.text_rows(distinct)
        return EmbeddingTable([encoder.text_matrix], dict(zip(distinct, rows.tolist(), strict=True)))
    store = EmbeddingStore(Path(config.folder), encoder.text_key, config.dtype, f"texts by {encoder.name}")
    return store.table(
        distinct,
        [_digest(text) for text in distinct],
        lambda positions: encoder.encode_texts([distinct[i] for i in positions]),
        unit="text",
    )


def image_table(encoder: AnyEncoder, images: Iterable[ImageRef], config: StoreConfig) -> EmbeddingTable:
    """Raw vectors of all distinct pictures, opening those that were never encoded.

    Raises:
        UserError: if a precomputed encoder has no picture vectors.
    """
    distinct = list({image.key: image for image in images}.values())
    if isinstance(encoder, PrecomputedEncoder):
        return EmbeddingTable([encoder.image_matrix], {i.key: i.row for i in distinct if i.row is not None})
    store = EmbeddingStore(Path(config.folder), encoder.image_key, config.dtype, f"pictures by {encoder.name}")
    return store.table(
        [image.key for image in distinct],
        [_digest(image.digest()) for image in distinct],
        lambda positions: encoder.encode_images([distinct[i].open() for i in positions]),
        unit="picture",
    )


def text_scenes(encoder: AnyEncoder, examples: Sequence[Example], config: StoreConfig) -> SceneVectors:
    """Scene vectors from the examples' texts."""
    table = text_table(encoder, (text for example in examples for text in example.texts), config)
    rows = [[table.row_of[text] for text in example.texts] for example in examples]
    return SceneVectors(table, *_ragged(rows))


def image_scenes(encoder: AnyEncoder, examples: Sequence[Example], config: StoreConfig) -> SceneVectors:
    """Scene vectors from the examples' pictures.

    Raises:
        UserError: if an example has no picture.
    """
    for example in examples:
        if example.image is None:
            raise UserError(f"example {example.id} has no picture; choose data with pictures, or scene=text")
    images = [example.image for example in examples if example.image is not None]
    table = image_table(encoder, images, config)
    return SceneVectors(table, *_ragged([[table.row_of[image.key]] for image in images]))


def _ragged(rows: Sequence[Sequence[int]]) -> tuple[Rows, Rows]:
    starts = np.cumsum([0, *(len(one) for one in rows)])
    return np.concatenate([np.asarray(one, dtype=np.int64) for one in rows]), starts.astype(np.int64)
