"""Vectors for gap measurements: unit length, several texts per scene, at most one image per scene."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from close_transfer.config.components import EmbeddingCacheConfig
from close_transfer.core.arrays import Float64Array, normalize_rows
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.embeddings import encode_image_scenes, encode_texts

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class GroupedVectors:
    """Unit vectors of scenes' texts, and of their images if there are any.

    Attributes:
        texts: shape (texts, d), float64; the texts of a scene follow each other.
        scene_of_text: scene of each text, from 0, in ascending order; shape (texts,).
        images: shape (scenes, d), float64; None without images.
        strings: the texts themselves, if they are known; length texts.
    """

    texts: Float64Array
    scene_of_text: Ints
    images: Float64Array | None = None
    strings: tuple[str, ...] = ()

    @property
    def num_scenes(self) -> int:
        """Return the number of scenes."""
        return int(self.scene_of_text[-1]) + 1

    @property
    def dim(self) -> int:
        """Return the width of the vectors."""
        return self.texts.shape[1]

    def sum_by_scene(self, values: NDArray[np.floating] | NDArray[np.bool_]) -> Float64Array:
        """Sum over the texts of each scene; (texts, ...) to (scenes, ...)."""
        starts = np.searchsorted(self.scene_of_text, np.arange(self.num_scenes))
        return np.add.reduceat(np.asarray(values, dtype=np.float64), starts, axis=0)

    def texts_per_scene(self) -> Float64Array:
        """Return the number of texts of each scene, shape (scenes,)."""
        return np.bincount(self.scene_of_text).astype(np.float64)


def encode_groups(
    encoder: AnyEncoder, examples: Sequence[Example], embedding_cache: EmbeddingCacheConfig, with_images: bool
) -> GroupedVectors:
    """Encode one example per scene (`examples.by_scene`), except vectors that the cache holds.

    Raises:
        UserError: if vectors are grids of several per scene, or images are requested and missing.
    """
    strings = [text for example in examples for text in example.texts]
    matrix, rows = encode_texts(encoder, strings, embedding_cache)
    scenes = np.repeat(np.arange(len(examples)), [len(example.texts) for example in examples])
    vectors = matrix.gather(rows)
    if vectors.ndim != 2:
        raise UserError(
            f"{encoder.name} gives {vectors.shape[1]} vectors per text, but the gap is measured between single vectors. "
            "so choose an encoder with one"
        )
    images = None
    if with_images:
        images = normalize_rows(encode_image_scenes(encoder, examples, embedding_cache)[np.arange(len(examples))])
    return GroupedVectors(normalize_rows(vectors), scenes, images, tuple(strings))
