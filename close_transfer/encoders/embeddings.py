"""Embeddings of texts and images, each encoded once and kept on disk, read by memory map.

They are kept raw, un-normalised and without noise, under a key of everything that determines them: the
encoder's weights and preprocessing, and the text or image itself (`embedding_cache.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from close_transfer.config.components import EmbeddingCacheConfig
from close_transfer.core.arrays import Float32Array, IntArray
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.digests import compute_digest, find_first_equal, pack_digests
from close_transfer.core.errors import UserError
from close_transfer.data.example_sequences import SceneTexts
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
        firsts = np.cumsum(counts) - counts
        rows = self.rows[np.repeat(self.starts[examples] - firsts, counts) + np.arange(counts.sum())]
        vectors = self.matrix.gather(rows)
        if len(rows) == len(examples):
            return vectors
        sums: Float32Array = np.add.reduceat(vectors, firsts, axis=0)
        sums /= counts.reshape(-1, *[1] * (vectors.ndim - 1))
        return sums


def encode_texts(
    encoder: AnyEncoder, texts: Sequence[str], config: EmbeddingCacheConfig
) -> tuple[EmbeddingMatrix, IntArray]:
    """Return raw vectors of all distinct texts, and the row of each text; those that are not in the cache are encoded.

    Raises:
        UserError: if a precomputed encoder lacks one of them.
    """
    if isinstance(encoder, PrecomputedEncoder):
        return EmbeddingMatrix([encoder.text_matrix]), encoder.find_text_rows(texts)
    digests = pack_digests(map(compute_digest, texts))
    first_equal = find_first_equal(digests)
    distinct = np.flatnonzero(first_equal == np.arange(len(texts)))
    cache = EmbeddingCache(config, encoder.text_key, f"texts by {encoder.name}")
    matrix, rows = cache.load_or_encode(
        digests[distinct],
        lambda groups: encoder.encode_text_groups([texts[i] for i in distinct[group]] for group in groups),
        unit="text",
    )
    return matrix, rows[np.searchsorted(distinct, first_equal)]


def encode_image_refs(
    encoder: AnyEncoder, images: Iterable[ImageRef], config: EmbeddingCacheConfig
) -> tuple[EmbeddingMatrix, dict[str, int]]:
    """Return raw vectors of all distinct images, and their rows by key, opening only those that are not in the cache.

    Raises:
        UserError: if a precomputed encoder has no image vectors.
    """
    distinct = list({image.key: image for image in images}.values())
    if isinstance(encoder, PrecomputedEncoder):
        row_of = {image.key: image.row for image in distinct if image.row is not None}
        return EmbeddingMatrix([encoder.image_matrix]), row_of
    cache = EmbeddingCache(config, fingerprint([encoder.image_key, OPENING]), f"images by {encoder.name}")

    def encode(groups: Sequence[IntArray]) -> Iterator[Float32Array]:
        openers = ([distinct[i].open for i in group] for group in groups)
        num_images = sum(map(len, groups))
        return (group.vectors for group in encoder.encode_image_groups(openers, config.image_workers, num_images))

    matrix, rows = cache.load_or_encode(
        pack_digests(compute_digest(image.digest()) for image in distinct),
        encode,
        unit="image",
    )
    return matrix, dict(zip((image.key for image in distinct), rows.tolist(), strict=True))


def encode_text_scenes(encoder: AnyEncoder, examples: Sequence[Example], config: EmbeddingCacheConfig) -> SceneVectors:
    """Return scene vectors from the examples' texts."""
    texts = SceneTexts(examples)
    return SceneVectors(*encode_texts(encoder, texts, config), texts.starts)


def encode_image_scenes(encoder: AnyEncoder, examples: Sequence[Example], config: EmbeddingCacheConfig) -> SceneVectors:
    """Return scene vectors from the examples' images.

    Raises:
        UserError: if an example has no image.
    """
    for example in examples:
        if example.image is None:
            raise UserError(f"example {example.id} has no image. Use data with images, or scene=text")
    images = [example.image for example in examples if example.image is not None]
    matrix, row_of = encode_image_refs(encoder, images, config)
    rows = np.fromiter((row_of[image.key] for image in images), dtype=np.int64, count=len(images))
    return SceneVectors(matrix, rows, np.arange(len(images) + 1))
