"""Pairs of texts with the same meaning, and intervals of means over scenes."""

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.modality_gap.vectors import GroupedVectors, Ints

_MOST_PAIRS = 20_000  # bounds the cost
# With fewer scenes of two texts than both of these, the pairs do not represent the others.
_LEAST_GROUPED, _LEAST_SHARE_GROUPED = 200, 0.1
_NUM_RESAMPLES = 1000  # as many as an evaluation draws by default
_LEAST_SCENES = 10  # fewer scenes do not show how much scenes differ


def find_related_pairs(vectors: GroupedVectors, seed: int = 0) -> tuple[Ints, Ints, bool]:
    """Find pairs: two texts of one scene, or each text and its nearest if hardly any scene has two.

    Scenes are used if 200 of them, or a tenth, have two texts or more.

    Returns:
        Positions of the first and of the second, shape (pairs,) each; and True if they are of one scene.
    """
    scenes = vectors.scene_of_text
    same = np.flatnonzero(scenes[1:] == scenes[:-1])
    rng = np.random.default_rng(seed)
    num_grouped = len(np.unique(scenes[same]))
    if num_grouped >= min(_LEAST_GROUPED, max(1.0, _LEAST_SHARE_GROUPED * vectors.num_scenes)):
        chosen = rng.permutation(same)[:_MOST_PAIRS]
        return chosen, chosen + 1, True
    chosen = np.sort(rng.permutation(len(scenes))[:_MOST_PAIRS])
    nearest = []
    for start in range(0, len(chosen), 512):
        rows = chosen[start : start + 512]
        cosines = vectors.texts[rows] @ vectors.texts.T
        cosines[scenes[rows][:, None] == scenes] = -np.inf  # texts of its own scene, including itself
        nearest.append(cosines.argmax(axis=1))
    return chosen, np.concatenate(nearest), False


def compute_mean_interval(values: Float64Array, scenes: Ints, seed: int) -> tuple[float, float] | None:
    """Return the 95% bootstrap interval of the mean, scenes drawn with replacement; None for fewer than ten scenes.

    Args:
        values: shape (n,).
        scenes: the scene of each value, shape (n,).
        seed: seed of the draws.
    """
    _, scene = np.unique(scenes, return_inverse=True)
    sums, counts = np.bincount(scene, values), np.bincount(scene)
    rng, num_scenes = np.random.default_rng(seed), len(sums)
    if num_scenes < _LEAST_SCENES:
        return None
    means = []
    for _ in range(_NUM_RESAMPLES):
        drawn = rng.integers(num_scenes, size=num_scenes)
        means.append(sums[drawn].sum() / counts[drawn].sum())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
