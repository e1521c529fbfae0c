"""Nearest neighbours: recall in both directions, and the effect of noise on neighbourhoods."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import Float64Array, normalize_rows
from close_transfer.modality_gap.vectors import GroupedVectors, Ints

RECALLS = (1, 5, 10)  # the k of COCO retrieval benchmarks
_QUERIES_AT_ONCE = 512  # bounds the matrix of similarities: 200 MB for 50,000 candidates
_NEAREST = 10  # neighbours that make up a neighbourhood; as many as the largest recall


def rank_own(queries: Float64Array, scene_of_query: Ints, candidates: Float64Array, scene_of_candidate: Ints) -> Ints:
    """Count the candidates of other scenes that are at least as near as the nearest of the query's own; (queries,).

    Ties count against the query, so vectors that are all alike find nothing.

    Args:
        queries, candidates: unit vectors, shape (n, d) and (m, d).
        scene_of_query, scene_of_candidate: their scenes, shape (n,) and (m,).
    """
    ranks = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        block = slice(start, start + _QUERIES_AT_ONCE)
        similarity = queries[block] @ candidates.T
        is_own_scene = scene_of_query[block, None] == scene_of_candidate
        own_similarity = np.where(is_own_scene, similarity, -np.inf).max(axis=1, keepdims=True)
        ranks.append(((similarity >= own_similarity) & ~is_own_scene).sum(axis=1))
    return np.concatenate(ranks)


def find_recall_hits(vectors: GroupedVectors) -> dict[str, Float64Array]:
    """Return recall per scene, by metric: 1 if a query's own is among the k nearest, else 0; shape (scenes,).

    `recall@k`: an image looks for any of its texts among all texts. `text_to_image_recall@k`: a text
    looks for its image among all images, averaged over the scene's texts. COCO's retrieval benchmarks count
    both in this way.
    """
    if vectors.images is None:
        return {}
    scenes = np.arange(vectors.num_scenes)
    image_ranks = rank_own(vectors.images, scenes, vectors.texts, vectors.scene_of_text)
    text_ranks = rank_own(vectors.texts, vectors.scene_of_text, vectors.images, scenes)
    counts = vectors.texts_per_scene()
    hits = {f"recall@{k}": (image_ranks < k).astype(np.float64) for k in RECALLS}
    return hits | {f"text_to_image_recall@{k}": vectors.sum_by_scene(text_ranks < k) / counts for k in RECALLS}


@dataclass(frozen=True)
class Neighbourhood:
    """Position of queries among the clean texts; a query is a noised text, or an image.

    Attributes:
        noise: standard deviation per coordinate; None for images.
        cosine_to_texts: mean cosine with its own text (all of the scene's texts, for an image).
        own_scene: share of queries whose nearest text, except their own, is of the same scene; for
            images no text is excepted. None if scenes have one text each.
        kept_neighbours: share of a text's ten nearest texts that are still among its ten nearest under
            noise; None for images.
        cosine_to_image: mean cosine with the scene's image; None without images.
    """

    noise: float | None
    cosine_to_texts: float
    own_scene: float | None
    kept_neighbours: float | None
    cosine_to_image: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return the fields for gap.json."""
        return asdict(self)


def _find_nearest(queries: Float64Array, vectors: GroupedVectors, leave_out: bool) -> NDArray[np.int64]:
    """Return the nearest texts of each query, nearest first, shape (queries, k); row i can leave text i out."""
    num_neighbours = min(_NEAREST, len(vectors.texts) - leave_out)
    neighbours = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        similarity = queries[start : start + _QUERIES_AT_ONCE] @ vectors.texts.T
        if leave_out:
            rows = np.arange(len(similarity))
            similarity[rows, start + rows] = -np.inf
        nearest = np.argpartition(-similarity, num_neighbours - 1, axis=1)[:, :num_neighbours]
        order = np.argsort(np.take_along_axis(-similarity, nearest, axis=1), axis=1)
        neighbours.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(neighbours)


def measure_neighbourhoods(vectors: GroupedVectors, noises: Sequence[float], seed: int = 0) -> list[Neighbourhood]:
    """Measure noised texts among the clean ones at each scale, then images among them for comparison.

    Args:
        vectors: the clouds.
        noises: standard deviations per coordinate; every scale gets the same draws, scaled.
        seed: seed of the draws.
    """
    scenes = vectors.scene_of_text
    has_several_texts = len(scenes) > vectors.num_scenes
    drawn = np.random.default_rng(seed).standard_normal(vectors.texts.shape)
    clean_nearest = _find_nearest(vectors.texts, vectors, leave_out=True)
    neighbourhoods = []
    for std in noises:
        noised = normalize_rows(vectors.texts + std * drawn)
        nearest = _find_nearest(noised, vectors, leave_out=True)
        kept_counts = [len(np.intersect1d(a, b)) for a, b in zip(nearest, clean_nearest, strict=True)]
        neighbourhoods.append(
            Neighbourhood(
                noise=std,
                cosine_to_texts=float((noised * vectors.texts).sum(axis=1).mean()),
                own_scene=float((scenes[nearest[:, 0]] == scenes).mean()) if has_several_texts else None,
                kept_neighbours=float(np.mean(kept_counts) / clean_nearest.shape[1]),
                cosine_to_image=None
                if vectors.images is None
                else float((noised * vectors.images[scenes]).sum(axis=1).mean()),
            )
        )
    if vectors.images is not None:
        nearest = _find_nearest(vectors.images, vectors, leave_out=False)
        neighbourhoods.append(
            Neighbourhood(
                noise=None,
                cosine_to_texts=float((vectors.images[scenes] * vectors.texts).sum(axis=1).mean()),
                own_scene=float((scenes[nearest[:, 0]] == np.arange(vectors.num_scenes)).mean()),
                kept_neighbours=None,
                cosine_to_image=1.0,
            )
        )
    return neighbourhoods
