"""Rules that choose the noise from text vectors alone, with no picture in sight.

Each gives a standard deviation per coordinate of a unit vector. They are candidates: docs/gap.md says what is
known of each, and none of them is a default.

Shapes: n texts, d width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from close_transfer.gap.vectors import Ints, SceneVectors
from close_transfer.noise import NoiseScale

_MOST_PAIRS = 20_000


@dataclass(frozen=True)
class Choice:
    """What a rule chose.

    Attributes:
        rule: its name.
        std: standard deviation per coordinate.
        evidence: what it looked at, by name.
        grouped: whether captions of one scene were there; else each text's nearest stood in for them.
    """

    rule: str
    std: float
    evidence: dict[str, float]
    grouped: bool


def related_pairs(vectors: SceneVectors, seed: int = 0) -> tuple[Ints, Ints, bool]:
    """Texts that say the same: two of one scene, or where scenes have one text, each text and its nearest.

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


def cosine_rule(vectors: SceneVectors, seed: int = 0) -> Choice:
    """Noise whose expected cosine is that of two texts which say the same: sqrt((1 / c**2 - 1) / d)."""
    one, other, grouped = related_pairs(vectors, seed)
    cosine = float((vectors.texts[one] * vectors.texts[other]).sum(axis=1).mean())
    scale = NoiseScale.of_cosine(min(max(cosine, 1e-3), 1.0), vectors.dim)
    return Choice("cosine", scale.std, {"cosine": cosine}, grouped)


def largest_coordinate_rule(vectors: SceneVectors, seed: int = 0) -> Choice:
    """The mean of the largest coordinate in which two texts that say the same differ (CapDec, arXiv 2211.00575,
    section 4: the spread of an image's captions in the L-infinity norm)."""
    one, other, grouped = related_pairs(vectors, seed)
    largest = float(np.abs(vectors.texts[one] - vectors.texts[other]).max(axis=1).mean())
    return Choice("largest_coordinate", largest, {"largest_coordinate": largest}, grouped)


RULES: dict[str, Callable[[SceneVectors, int], Choice]] = {
    "cosine": cosine_rule,
    "largest_coordinate": largest_coordinate_rule,
}
