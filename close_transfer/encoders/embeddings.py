"""Embeddings of texts and images, each encoded once and kept on disk, read by memory map.

They are kept raw, un-normalised and without noise, under a key of everything that determines them: the
encoder's weights and preprocessing, and the text or image itself (`embedding_cache.py`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from close_transfer.config.components import EmbeddingCacheConfig
from close_transfer.core.arrays import Float32Array, IntArray
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, ImageRef
from close_transfer.data.image_files import OPENING
from close_transfer.encoders import AnyEncoder, PrecomputedEncoder
from close_transfer.encoders.embedding_cache import EmbeddingCache, EmbeddingMatrix


@dataclass(frozen=True)
class SceneVectors:
    """Vector of each example's scene: the mean of its texts' raw vectors, or its image's.

    Attributes:
        matrix: the raw vectors.
        rows: rows of all examples in the matrix, one example after the other, shape (total,).
        starts: start of each example's part of `rows`, and the end of the last part, shape (examples + 1,).
    """

    matrix: EmbeddingMatrix
    rows: IntArray
    starts: IntArray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, examples: IntArray) -> Float32Array:
        """Return raw vectors of these examples, averaged before any normalising; (examples, [k,] dim)."""
        counts = self.starts[examples + 1] - self.starts[examples]
        rows = np.concatenate([self.rows[self.starts[example] : self.starts[example + 1]] for example in examples])
        vectors = self.matrix.gather(rows)
        if len(rows) == len(examples):
            return vectors
        firsts = np.cumsum(counts) - counts
        sums: Float32Array = np.add.reduceat(vectors, firsts, axis=0)
        sums /= counts.reshape(-1, *[1] * (vectors.ndim - 1))
        return sums


def _compute_digest(content: str) -> bytes:
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def encode_texts(encoder: AnyEncoder, texts: Iterable[str], config: EmbeddingCacheConfig) -> EmbeddingMatrix:
    """Return raw vectors of all distinct texts, encoding those that are not in the cache.

    Raises:
        UserError: if a precomputed encoder lacks one of them.
    """
    distinct = list(dict.fromkeys(texts))
    if isinstance(encoder, PrecomputedEncoder):
        rows = encoder.find_text_rows(distinct)
        return EmbeddingMatrix([encoder.text_matrix], dict(zip(distinct, rows.tolist(), strict=True)))
    cache = EmbeddingCache(config, encoder.text_key, f"texts by {encoder.name}")
    return cache.load_or_encode(
        distinct,
        [_compute_digest(text) for text in distinct],
        lambda groups: encoder.encode_text_groups([distinct[i] for i in group] for group in groups),
        unit="text",
    )


def encode_image_refs(encoder: AnyEncoder, images: Iterable[ImageRef], config: EmbeddingCacheConfig) -> EmbeddingMatrix:
    """Return raw vectors of all distinct images, opening only those that are not in the cache.

    Raises:
        UserError: if a precomputed encoder has no image vectors.
    """
    distinct = list({image.key: image for image in images}.values())
    if isinstance(encoder, PrecomputedEncoder):
        return EmbeddingMatrix(
            [encoder.image_matrix], {image.key: image.row for image in distinct if image.row is not None}
        )
    cache = EmbeddingCache(config, fingerprint([encoder.image_key, OPENING]), f"images by {encoder.name}")

    def encode(groups: Sequence[Sequence[int]]) -> Iterator[Float32Array]:
        openers = ([distinct[i].open for i in group] for group in groups)
        num_images = sum(map(len, groups))
        return (group.vectors for group in encoder.encode_image_groups(openers, config.image_workers, num_images))

    return cache.load_or_encode(
        [image.key for image in distinct],
        [_compute_digest(image.digest()) for image in distinct],
        encode,
        unit="image",
    )


def encode_text_scenes(encoder: AnyEncoder, examples: Sequence[Example], config: EmbeddingCacheConfig) -> SceneVectors:
    """Return scene vectors from the examples' texts."""
    matrix = encode_texts(encoder, (text for example in examples for text in example.texts), config)
    rows = [[matrix.row_of[text] for text in example.texts] for example in examples]
    return SceneVectors(matrix, *_flatten_rows(rows))


def encode_image_scenes(encoder: AnyEncoder, examples: Sequence[Example], config: EmbeddingCacheConfig) -> SceneVectors:
    """Return scene vectors from the examples' images.

    Raises:
        UserError: if an example has no image.
    """
    for example in examples:
        if example.image is None:
            raise UserError(f"example {example.id} has no image. Use data with images, or scene=text")
    images = [example.image for example in examples if example.image is not None]
    matrix = encode_image_refs(encoder, images, config)
    return SceneVectors(matrix, *_flatten_rows([[matrix.row_of[image.key]] for image in images]))


def _flatten_rows(rows: Sequence[Sequence[int]]) -> tuple[IntArray, IntArray]:
    starts = np.cumsum([0, *(len(row) for row in rows)])
    return np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]), starts.astype(np.int64)
