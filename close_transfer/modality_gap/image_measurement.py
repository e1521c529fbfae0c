"""Measurement of image vectors alone, for an encoder without a text tower: all that a gap report has about images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from close_transfer.config.components import EmbeddingCacheConfig
from close_transfer.core.arrays import Float64Array, normalize_rows
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.embeddings import encode_image_scenes
from close_transfer.modality_gap.cosines import compute_image_metrics
from close_transfer.modality_gap.resampling import Intervals, Metrics, resample_metrics, resample_spectral_metrics
from close_transfer.modality_gap.spectra import Moments, compute_image_spectral_metrics


@dataclass(frozen=True)
class ImageMeasurement:
    """Result of a measurement of images.

    Attributes:
        metrics, intervals: by the names that `compute_image_metrics` and `compute_image_spectral_metrics` explain. They
            equal those of a measurement of texts and images.
        spectrum: share of the variance along each principal direction.
        images: unit vectors, shape (scenes, d).
        note: sentences about what is missing, and why.
    """

    metrics: Metrics
    intervals: Intervals
    spectrum: list[float]
    images: Float64Array
    note: str
    provenance: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of gap.json."""
        return {
            "metrics": self.metrics,
            "intervals": self.intervals,
            "num_scenes": len(self.images),
            "num_texts": 0,
            "dim": self.images.shape[1],
            **self.provenance,
            "notes": [self.note],
            "spectra": {"images": self.spectrum},
        }


def encode_images(
    encoder: AnyEncoder, examples: Sequence[Example], embedding_cache: EmbeddingCacheConfig
) -> Float64Array:
    """Return unit vectors of one image per scene, shape (scenes, d).

    Raises:
        UserError: if vectors are grids of several per image, or an image is missing.
    """
    vectors = encode_image_scenes(encoder, examples, embedding_cache)[np.arange(len(examples))]
    if vectors.ndim != 2:
        raise UserError(
            f"{encoder.name} gives {vectors.shape[1]} vectors per image, but single vectors are measured. Give "
            "clip.features=pooled"
        )
    return normalize_rows(vectors)


def measure_images(images: Float64Array, num_resamples: int, seed: int, encoder_name: str) -> ImageMeasurement:
    """Measure image vectors.

    Args:
        images: unit vectors of at least two images, shape (scenes, d).
        num_resamples: bootstrap draws, at least 2.
        seed: seed of the draws.
        encoder_name: name of the encoder, for the note.

    Raises:
        UserError: if there are fewer than two images.
    """
    num_scenes = len(images)
    metrics, intervals = resample_metrics(compute_image_metrics(images), num_scenes, num_resamples, seed)
    spectral_metrics, spectral_intervals = resample_spectral_metrics(
        partial(compute_image_spectral_metrics, images), num_scenes, num_resamples, seed
    )
    return ImageMeasurement(
        metrics | spectral_metrics,
        intervals | spectral_intervals,
        Moments.from_rows(images, np.ones(num_scenes)).spectrum().tolist(),
        images,
        f"{encoder_name} gives no vectors of texts. The gap between texts and images, recalls and the noise need them, so "
        "they are missing. To get them, train a text tower for it by train_text_tower.py image_tower=locked",
    )
