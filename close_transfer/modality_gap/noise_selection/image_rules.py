"""Rules that see images: unpaired ones (T1), or with their texts (T4). compute_statistics.py applies them."""

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.noise_selection.choice import NoiseChoice
from close_transfer.modality_gap.noise_selection.pairs import compute_mean_interval
from close_transfer.modality_gap.noise_selection.text_rules import build_cosine_to_std, choose_by_mean
from close_transfer.modality_gap.vectors import GroupedVectors, Ints

_MAX_VECTORS = 4_000  # draw of texts and images at most; bounds the cost
# Per coordinate of a unit vector. Such noise is sqrt(d) times as long as the vector, so nothing is left of it.
_MAX_STD = 1.0
_PRECISION = 1e-4  # of the bisection; 100 times finer than the scales that papers report


def _find_nearest_cosines(
    queries: Float64Array, texts: Float64Array, scenes: tuple[Ints, Ints] | None = None
) -> Float64Array:
    """Return the cosine of each query with its nearest text, shape (queries,).

    Args:
        queries, texts: unit vectors, shape (m, d) and (n, d).
        scenes: scene of each query and of each text; texts of a query's own scene are left out.
    """
    nearest_cosines = []
    for start in range(0, len(queries), 512):
        cosines = queries[start : start + 512] @ texts.T
        if scenes is not None:
            cosines[scenes[0][start : start + 512, None] == scenes[1]] = -np.inf
        nearest_cosines.append(cosines.max(axis=1))
    return np.concatenate(nearest_cosines)


def choose_unpaired(texts: GroupedVectors, images: Float64Array, seed: int = 0) -> NoiseChoice:
    """Choose noise that takes a text as far from the nearest text of another scene as images are.

    Both are compared with the same texts, none of which is of their own scene, so the bias of a nearest
    neighbour is the same for both.

    Args:
        texts: texts of some scenes.
        images: unit vectors of images of other scenes, shape (m, d).
        seed: seed of the noise, one draw for all scales.

    Raises:
        UserError: if no noise takes texts that far.
    """
    text_vectors, scenes, images = texts.texts[:_MAX_VECTORS], texts.scene_of_text[:_MAX_VECTORS], images[:_MAX_VECTORS]
    image_cosines = _find_nearest_cosines(images, text_vectors)
    drawn = np.random.default_rng(seed).standard_normal(text_vectors.shape)

    def measure_text_cosine(std: float) -> float:
        noised = text_vectors + std * drawn
        noised /= np.linalg.norm(noised, axis=1, keepdims=True)
        return float(_find_nearest_cosines(noised, text_vectors, (scenes, scenes)).mean())

    def find_std(cosine: float) -> float:
        lower, upper = 0.0, _MAX_STD
        while upper - lower > _PRECISION:
            middle = (lower + upper) / 2
            lower, upper = (middle, upper) if measure_text_cosine(middle) > cosine else (lower, middle)
        return (lower + upper) / 2

    image_cosine, clean_cosine = float(image_cosines.mean()), measure_text_cosine(0.0)
    if not measure_text_cosine(_MAX_STD) < image_cosine < clean_cosine:
        raise UserError(
            f"noise=auto-unpaired: an image's nearest text has cosine {image_cosine:.3f}, a text's nearest of another scene "
            f"{clean_cosine:.3f}, so no noise takes texts as far as these images are. Give a number, or noise=auto"
        )
    ends = compute_mean_interval(image_cosines, np.arange(len(image_cosines)), seed)
    low, high = sorted(map(find_std, ends or (image_cosine, image_cosine)))
    evidence = {"nearest_text_of_an_image": image_cosine, "nearest_other_text_of_a_text": clean_cosine}
    return NoiseChoice(
        "nearest_text", "T1", find_std(image_cosine), evidence, grouped=True, interval=(low, high) if ends else None
    )


def choose_paired(pairs: GroupedVectors, seed: int = 0) -> NoiseChoice:
    """Choose noise whose expected cosine is that of an image with its text: sqrt((1 / c**2 - 1) / d).

    Raises:
        UserError: if the mean cosine of images and their texts is not positive.
    """
    assert pairs.images is not None
    cosines = (pairs.images[pairs.scene_of_text] * pairs.texts).sum(axis=1)
    if cosines.mean() <= 0:
        raise UserError(
            f"noise=auto-paired: images and their texts have a mean cosine of {cosines.mean():.3f}. Check the "
            "pairs, or give a number"
        )
    to_std = build_cosine_to_std(pairs.dim)
    return choose_by_mean("paired_cosine", "T4", "paired_cosine", cosines, pairs.scene_of_text, to_std, seed)
