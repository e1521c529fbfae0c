"""Rules that choose the noise from text vectors alone (T0).

Each gives a standard deviation per coordinate of a unit vector. docs/modality_gap.md says how well each works,
and which results on images its author had seen.
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
    """Return a choice that is a function of a mean, with the interval that follows from the mean's.

    Args:
        rule, data_regime: fields of the choice.
        name: name of the mean.
        values: values to average, shape (n,).
        scenes: the scene of each, shape (n,).
        to_std: monotone function from the mean to a standard deviation.
        seed: seed of the resamples.
    """
    mean = float(values.mean())
    ends = compute_mean_interval(values, scenes, seed)
    low, high = sorted(map(to_std, ends or (mean, mean)))
    evidence = {name: mean, "pairs": float(len(values))}
    return NoiseChoice(rule, data_regime, to_std(mean), evidence, grouped=True, interval=(low, high) if ends else None)


def build_cosine_to_std(dim: int) -> Callable[[float], float]:
    """Return a function from an expected cosine to the noise that has it: sqrt((1 / c**2 - 1) / d)."""
    return lambda cosine: NoiseScale.from_cosine(min(max(cosine, 1e-3), 1.0), dim).std


def choose_by_cosine(vectors: GroupedVectors, seed: int = 0) -> NoiseChoice:
    """Choose the noise whose expected cosine is that of two texts with the same meaning."""
    first, second, grouped = find_related_pairs(vectors, seed)
    cosines = (vectors.texts[first] * vectors.texts[second]).sum(axis=1)
    scenes = vectors.scene_of_text[first]
    choice = choose_by_mean(
        "cosine", "T0", "cosine_of_two_texts", cosines, scenes, build_cosine_to_std(vectors.dim), seed
    )
    return choice.replace_grouped(grouped)


def choose_by_largest_coordinate(vectors: GroupedVectors, seed: int = 0) -> NoiseChoice:
    """Choose the mean, over pairs of texts with the same meaning, of the largest difference in one coordinate.

    CapDec (arXiv 2211.00575, section 4): the spread of an image's captions in the L-infinity norm.
    """
    first, second, grouped = find_related_pairs(vectors, seed)
    largest = np.abs(vectors.texts[first] - vectors.texts[second]).max(axis=1)
    scenes = vectors.scene_of_text[first]
    choice = choose_by_mean("largest_coordinate", "T0", "largest_coordinate", largest, scenes, lambda mean: mean, seed)
    return choice.replace_grouped(grouped)


TEXT_RULES: dict[str, Rule] = {
    "largest_coordinate": choose_by_largest_coordinate,
    "cosine": choose_by_cosine,
    "shifted_validation": choose_by_shifted_validation,
}
