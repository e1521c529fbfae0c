"""Rules that may see images: unpaired ones (T1), or with their texts (T4). compute_statistics.py applies them."""

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.noise_selection.choice import NoiseChoice
from close_transfer.modality_gap.noise_selection.pairs import compute_mean_interval
from close_transfer.modality_gap.noise_selection.text_rules import choose_by_mean, cosine_to_std
from close_transfer.modality_gap.vectors import GroupedVectors, Ints

_MOST = 4_000  # texts, and images
_LARGEST = 1.0
_PRECISION = 1e-4


def _nearest_cosines(queries: Float64Array, texts: Float64Array, own: tuple[Ints, Ints] | None = None) -> Float64Array:
    """Cosine of each query with its nearest text, shape (queries,).

    Args:
        queries, texts: unit vectors, shape (m, d) and (n, d).
        own: scene of each query and of each text; texts of a query's own scene are left out.
    """
    found = []
    for start in range(0, len(queries), 512):
        cosines = queries[start : start + 512] @ texts.T
        if own is not None:
            cosines[own[0][start : start + 512, None] == own[1]] = -np.inf
        found.append(cosines.max(axis=1))
    return np.concatenate(found)


def choose_unpaired(texts: GroupedVectors, images: Float64Array, seed: int = 0) -> NoiseChoice:
    """Noise that takes a text as far from the nearest text of another scene as images are.

    Both look among the same texts, none of which is of their own scene, so the bias of a nearest neighbour
    is the same for both.

    Args:
        texts: of some scenes.
        images: unit vectors of images of other scenes, shape (m, d).
        seed: of the noise, which is one draw at all scales.

    Raises:
        UserError: if no noise takes texts as far as that.
    """
    told, scenes, images = texts.texts[:_MOST], texts.scene_of_text[:_MOST], images[:_MOST]
    wanted = _nearest_cosines(images, told)
    drawn = np.random.default_rng(seed).standard_normal(told.shape)

    def reached(std: float) -> float:
        noised = told + std * drawn
        noised /= np.linalg.norm(noised, axis=1, keepdims=True)
        return float(_nearest_cosines(noised, told, (scenes, scenes)).mean())

    def std_for(cosine: float) -> float:
        least, most = 0.0, _LARGEST
        while most - least > _PRECISION:
            middle = (least + most) / 2
            least, most = (middle, most) if reached(middle) > cosine else (least, middle)
        return (least + most) / 2

    mean, clean = float(wanted.mean()), reached(0.0)
    if not reached(_LARGEST) < mean < clean:
        raise UserError(
            f"noise=auto-unpaired: an image's nearest text has cosine {mean:.3f}, a text's nearest of another scene "
            f"{clean:.3f}; no noise takes texts as far as these images are; give a number, or noise=auto"
        )
    ends = compute_mean_interval(wanted, np.arange(len(wanted)), seed)
    low, high = sorted(map(std_for, ends or (mean, mean)))
    evidence = {"nearest_text_of_a_picture": mean, "nearest_other_text_of_a_text": clean}
    return NoiseChoice(
        "nearest_text", "T1", std_for(mean), evidence, grouped=True, interval=(low, high) if ends else None
    )


def choose_paired(pairs: GroupedVectors, seed: int = 0) -> NoiseChoice:
    """Noise whose expected cosine is that of an image with its text: sqrt((1 / c**2 - 1) / d).

    Raises:
        UserError: if images do not point towards their texts at all.
    """
    assert pairs.images is not None
    cosines = (pairs.images[pairs.scene_of_text] * pairs.texts).sum(axis=1)
    if cosines.mean() <= 0:
        raise UserError(
            f"noise=auto-paired: images and their texts have a mean cosine of {cosines.mean():.3f}; look at the "
            "pairs, or give a number"
        )
    to_std = cosine_to_std(pairs.dim)
    return choose_by_mean("paired_cosine", "T4", "paired_cosine", cosines, pairs.scene_of_text, to_std, seed)
