"""Measurement of an encoder's modality gap on some scenes: metrics with intervals, and data for the report."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.cosines import compute_cosine_metrics
from close_transfer.modality_gap.neighbours import Neighbourhood, find_recall_hits, measure_neighbourhoods
from close_transfer.modality_gap.noise_selection import TEXT_RULES, NoiseChoice, choose_paired
from close_transfer.modality_gap.resampling import (
    SPECTRAL_RESAMPLES,
    Intervals,
    Metrics,
    compute_normal_interval,
    draw_scene_weights,
    resample_metrics,
    resample_spectral_metrics,
)
from close_transfer.modality_gap.spectra import (
    Moments,
    compute_spectral_metrics,
    measure_centred_squared,
    take_signed_root,
)
from close_transfer.modality_gap.vectors import GroupedVectors

_SPLITS = 10  # splits of the scenes into halves; more change the mean little
_CENTRED_SCENES = 4  # with fewer scenes a half has no spread


@dataclass(frozen=True)
class Gap:
    """Result of a measurement.

    Attributes:
        metrics, intervals: by the names that `compute_cosine_metrics`, `find_recall_hits` and `compute_spectral_metrics` explain, and
            `centred_distance`, the signed root of `measure_centred_squared` (with images of at least 4 scenes).
        neighbourhoods: one per scale of noise, then one for images if there are any.
        spectra: share of the variance along each principal direction of "texts", and with images of
            "images" and "difference".
        choices: the noise that each rule chooses, from the texts alone or from the pairs.
        coordinates: "mean" and "std" of image minus text in each coordinate; empty without images.
        vectors: the vectors that were measured.
    """

    metrics: Metrics
    intervals: Intervals
    neighbourhoods: Sequence[Neighbourhood]
    spectra: dict[str, list[float]]
    coordinates: dict[str, list[float]]
    choices: Sequence[NoiseChoice]
    vectors: GroupedVectors
    provenance: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of gap.json."""
        return {
            "metrics": self.metrics,
            "intervals": self.intervals,
            "num_scenes": self.vectors.num_scenes,
            "num_texts": len(self.vectors.texts),
            "dim": self.vectors.dim,
            **self.provenance,
            "noise_rules": [asdict(choice) for choice in self.choices],
            "neighbourhoods": [neighbourhood.as_dict() for neighbourhood in self.neighbourhoods],
            "spectra": self.spectra,
            "coordinates": self.coordinates,
        }


def _resample_cosines_and_recalls(vectors: GroupedVectors, num_resamples: int, seed: int) -> tuple[Metrics, Intervals]:
    """Return cosines, lengths and recalls with their intervals."""
    compute_cosines, hits = compute_cosine_metrics(vectors), find_recall_hits(vectors)
    num_scenes = vectors.num_scenes

    def compute_metrics(weights: Float64Array) -> dict[str, Float64Array]:
        return compute_cosines(weights) | {name: weights @ scene_hits / num_scenes for name, scene_hits in hits.items()}

    return resample_metrics(compute_metrics, num_scenes, num_resamples, seed)


def _measure_centred_distance(vectors: GroupedVectors, num_resamples: int, seed: int) -> tuple[Metrics, Intervals]:
    """Return `centred_distance` with an interval that is normal for its square, which is unbiased.

    A resample is split once, so the chance of the split widens the interval: a little if the clouds differ,
    about twofold if they do not.
    """
    num_scenes = vectors.num_scenes
    if vectors.images is None or num_scenes < _CENTRED_SCENES:
        return {}, {}
    rng = np.random.default_rng(seed)
    squared = measure_centred_squared(vectors, np.ones(num_scenes), _SPLITS, rng)
    resamples = draw_scene_weights(num_scenes, min(num_resamples, SPECTRAL_RESAMPLES), rng)
    low, high = compute_normal_interval(
        squared, [measure_centred_squared(vectors, weights, 1, rng) for weights in resamples]
    )
    return {"centred_distance": take_signed_root(squared)}, {
        "centred_distance": (take_signed_root(low), take_signed_root(high))
    }


def _choose_noises(vectors: GroupedVectors, seed: int) -> list[NoiseChoice]:
    """Return the noise that each rule chooses, without the rules that these texts cannot serve."""
    choices = []
    for rule in (*TEXT_RULES.values(), *([choose_paired] if vectors.images is not None else [])):
        with suppress(UserError):
            choices.append(rule(vectors, seed))
    return choices


def measure(vectors: GroupedVectors, noises: Sequence[float], num_resamples: int, seed: int = 0) -> Gap:
    """Measure the gap between these vectors.

    Args:
        vectors: at least two scenes.
        noises: scales of noise to measure, as standard deviations per coordinate.
        num_resamples: bootstrap draws, at least 2; at most 100 are used for metrics of eigenvalues.
        seed: seed of the draws and of the noise.

    Raises:
        UserError: if there are fewer than two scenes.
    """
    metrics, intervals = _resample_cosines_and_recalls(vectors, num_resamples, seed)
    spectral_metrics, spectral_intervals = resample_spectral_metrics(
        partial(compute_spectral_metrics, vectors), vectors.num_scenes, num_resamples, seed
    )
    centred_metrics, centred_intervals = _measure_centred_distance(vectors, num_resamples, seed)
    ones = np.ones(len(vectors.texts))
    spectra = {"texts": Moments.from_rows(vectors.texts, ones).spectrum().tolist()}
    coordinates: dict[str, list[float]] = {}
    if vectors.images is not None:
        difference = Moments.from_rows(vectors.images[vectors.scene_of_text] - vectors.texts, ones)
        spectra["images"] = Moments.from_rows(vectors.images, np.ones(vectors.num_scenes)).spectrum().tolist()
        spectra["difference"] = difference.spectrum().tolist()
        coordinates = {
            "mean": difference.mean.tolist(),
            "std": np.sqrt(np.diag(difference.covariance)).tolist(),
        }
    return Gap(
        metrics | spectral_metrics | centred_metrics,
        intervals | spectral_intervals | centred_intervals,
        measure_neighbourhoods(vectors, noises, seed),
        spectra,
        coordinates,
        _choose_noises(vectors, seed),
        vectors,
    )
