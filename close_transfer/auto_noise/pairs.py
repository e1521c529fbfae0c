"""Texts that say the same, and intervals of means over scenes."""

import numpy as np

from close_transfer.grouped_vectors import Floats, GroupedVectors, Ints

_MOST_PAIRS = 20_000
_NUM_RESAMPLES = 1000


def related_pairs(vectors: GroupedVectors, seed: int = 0) -> tuple[Ints, Ints, bool]:
    """Two texts of one scene, or where scenes have one text, each text and its nearest.

    Returns:
        Positions of the first and of the second, shape (pairs,) each; and whether they are of one scene.
    """
    scenes = vectors.scene_of_text
    same = np.flatnonzero(scenes[1:] == scenes[:-1])
    rng = np.random.default_rng(seed)
    if len(same):
        chosen = rng.permutation(same)[:_MOST_PAIRS]
        return chosen, chosen + 1, True
    chosen = np.sort(rng.permutation(len(scenes))[:_MOST_PAIRS])
    nearest = []
    for start in range(0, len(chosen), 512):
        rows = chosen[start : start + 512]
        cosines = vectors.texts[rows] @ vectors.texts.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        nearest.append(cosines.argmax(axis=1))
    return chosen, np.concatenate(nearest), False


def interval_of_mean(values: Floats, scenes: Ints, seed: int) -> tuple[float, float]:
    """95% bootstrap interval of the mean, scenes drawn with replacement.

    Args:
        values: shape (n,).
        scenes: the scene of each value, shape (n,).
        seed: of the draws.
    """
    _, scene = np.unique(scenes, return_inverse=True)
    sums, counts = np.bincount(scene, values), np.bincount(scene)
    rng, num = np.random.default_rng(seed), len(sums)
    means = []
    for _ in range(_NUM_RESAMPLES):
        drawn = rng.integers(num, size=num)
        means.append(sums[drawn].sum() / counts[drawn].sum())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
