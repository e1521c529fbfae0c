"""Cosines and means of two clouds of unit vectors, with bootstrap intervals over scenes.

All metrics are functions of sums over scenes, so a resample needs the sums only. Two texts of one scene, or a
scene that was drawn twice, never count as unrelated.

Shapes: s scenes, d width, r resamples; weights count the draws of each scene in a resample.
"""

from collections.abc import Callable

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.modality_gap.vectors import GroupedVectors

# Lengths of means: a resample repeats scenes, so its means are longer than the data's and percentiles are biased up.
LENGTHS = ("text_mean_length", "image_mean_length", "mean_distance")


def _compute_cosine_between_scenes(sums: Float64Array, counts: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the mean cosine of two vectors of different scenes, per resample; shape (r,).

    Args:
        sums: summed unit vectors of each scene, shape (s, d).
        counts: number of vectors in each sum, shape (s,).
        weights: shape (r, s).
    """
    cosine_sums = np.square(weights @ sums).sum(axis=1) - np.square(weights) @ np.square(sums).sum(axis=1)
    pair_counts = np.square(weights @ counts) - np.square(weights) @ np.square(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return cosine_sums / pair_counts


def compute_image_metrics(images: Float64Array) -> Callable[[Float64Array], dict[str, Float64Array]]:
    """Return a function from weights, shape (r, s), to the metrics of images alone, shape (r,) each.

    - `unrelated_image_cosine`: cosine of two images.
    - `image_mean_length`: length of the mean image vector; 1 if all point the same way.

    Args:
        images: unit vectors, shape (s, d).
    """
    ones = np.ones(len(images))

    def compute_metrics(weights: Float64Array) -> dict[str, Float64Array]:
        return {
            "unrelated_image_cosine": _compute_cosine_between_scenes(images, ones, weights),
            "image_mean_length": np.linalg.norm(_average(images, weights), axis=1),
        }

    return compute_metrics


def _average(images: Float64Array, weights: Float64Array) -> Float64Array:
    return weights @ images / weights.sum(axis=1, keepdims=True)


def compute_cosine_metrics(vectors: GroupedVectors) -> Callable[[Float64Array], dict[str, Float64Array]]:
    """Return a function from weights, shape (r, s), to metrics, shape (r,) each.

    - `unrelated_text_cosine`, `same_scene_text_cosine`: two texts of different scenes, or of one scene.
    - `caption_spread`: standard deviation per coordinate of a text around its scene's mean text,
      sqrt((1 - same_scene_text_cosine) / d); the unit of `noise=`.
    - `text_mean_length`: length of the mean text vector; 1 if all point the same way.
    - with images: `paired_cosine` of an image with its texts, `unrelated_image_cosine`,
      `unrelated_cross_cosine` of an image with another scene's text, `image_mean_length`, and
      `mean_distance` between the two means, the modality gap of Liang et al. (arXiv 2203.02053).
    """
    sums, counts = vectors.sum_by_scene(vectors.texts), vectors.texts_per_scene()
    same_scene_pairs = counts * (counts - 1)
    same_scene_sums = np.square(sums).sum(axis=1) - counts
    images = vectors.images
    has_same_scene_pairs = bool(same_scene_pairs.any())

    def compute_metrics(weights: Float64Array) -> dict[str, Float64Array]:
        text_means = weights @ sums / (weights @ counts)[:, None]
        text_metrics = {"unrelated_text_cosine": _compute_cosine_between_scenes(sums, counts, weights)}
        if has_same_scene_pairs:
            with np.errstate(invalid="ignore", divide="ignore"):
                text_metrics["same_scene_text_cosine"] = (weights @ same_scene_sums) / (weights @ same_scene_pairs)
            text_metrics["caption_spread"] = np.sqrt(
                np.maximum(1 - text_metrics["same_scene_text_cosine"], 0) / vectors.dim
            )
        text_metrics["text_mean_length"] = np.linalg.norm(text_means, axis=1)
        if images is None:
            return text_metrics
        ones = np.ones(len(images))
        image_means = _average(images, weights)
        paired = (sums * images).sum(axis=1)
        cross_sums = ((weights @ sums) * (weights @ images)).sum(axis=1)
        cross_pairs = (weights @ counts) * weights.sum(axis=1) - np.square(weights) @ counts
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "paired_cosine": (weights @ paired) / (weights @ counts),
                **text_metrics,
                "unrelated_image_cosine": _compute_cosine_between_scenes(images, ones, weights),
                "unrelated_cross_cosine": (cross_sums - np.square(weights) @ paired) / cross_pairs,
                "image_mean_length": np.linalg.norm(image_means, axis=1),
                "mean_distance": np.linalg.norm(image_means - text_means, axis=1),
            }

    return compute_metrics
