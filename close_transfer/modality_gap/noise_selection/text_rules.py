"""Rules that choose the noise from text vectors alone, with no image in sight (T0).

Each gives a standard deviation per coordinate of a unit vector. docs/modality_gap.md says what is known of each, and
what had been seen of images when it was written.
"""

from collections.abc import Callable

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.modality_gap.noise_selection.choice import NoiseChoice, Rule
from close_transfer.modality_gap.noise_selection.pairs import compute_mean_interval, find_related_pairs
from close_transfer.modality_gap.noise_selection.shifted_validation import choose_by_shifted_validation
from close_transfer.modality_gap.vectors import GroupedVectors, Ints
from close_transfer.models.noise_scale import NoiseScale


def choose_by_mean(
    rule: str,
    data_regime: str,
    name: str,
    values: Float64Array,
    scenes: Ints,
    to_std: Callable[[float], float],
    seed: int,
) -> NoiseChoice:
    """A choice that follows from a mean, with the interval that follows from the mean's.

    Args:
        rule, data_regime: of the choice.
        name: of the mean.
        values: what is averaged, shape (n,).
        scenes: the scene of each, shape (n,).
        to_std: from the mean to a standard deviation; monotone.
        seed: of the resamples.
    """
    mean = float(values.mean())
    ends = compute_mean_interval(values, scenes, seed)
    low, high = sorted(map(to_std, ends or (mean, mean)))
    evidence = {name: mean, "pairs": float(len(values))}
    return NoiseChoice(rule, data_regime, to_std(mean), evidence, grouped=True, interval=(low, high) if ends else None)


def cosine_to_std(dim: int) -> Callable[[float], float]:
    """From an expected cosine to the noise that has it: sqrt((1 / c**2 - 1) / d)."""
    return lambda cosine: NoiseScale.from_cosine(min(max(cosine, 1e-3), 1.0), dim).std


def choose_by_cosine(vectors: GroupedVectors, seed: int = 0) -> NoiseChoice:
    """Noise whose expected cosine is that of two texts which say the same."""
    first, second, grouped = find_related_pairs(vectors, seed)
    cosines = (vectors.texts[first] * vectors.texts[second]).sum(axis=1)
    scenes = vectors.scene_of_text[first]
    choice = choose_by_mean("cosine", "T0", "cosine_of_two_texts", cosines, scenes, cosine_to_std(vectors.dim), seed)
    return choice.with_grouped(grouped)


def choose_by_largest_coordinate(vectors: GroupedVectors, seed: int = 0) -> NoiseChoice:
    """The mean of the largest coordinate in which two texts that say the same differ (CapDec, arXiv 2211.00575,
    section 4: the spread of an image's captions in the L-infinity norm)."""
    first, second, grouped = find_related_pairs(vectors, seed)
    largest = np.abs(vectors.texts[first] - vectors.texts[second]).max(axis=1)
    scenes = vectors.scene_of_text[first]
    choice = choose_by_mean("largest_coordinate", "T0", "largest_coordinate", largest, scenes, lambda mean: mean, seed)
    return choice.with_grouped(grouped)


TEXT_RULES: dict[str, Rule] = {
    "largest_coordinate": choose_by_largest_coordinate,
    "cosine": choose_by_cosine,
    "shifted_validation": choose_by_shifted_validation,
}
