"""Who is nearest to whom: recall both ways, and what noise of each scale does to neighbourhoods."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import Float64Array
from close_transfer.modality_gap.vectors import GroupedVectors, Ints, normalize_rows

RECALLS = (1, 5, 10)
_QUERIES_AT_ONCE = 512
_NEAREST = 10


def rank_own(queries: Float64Array, scene_of_query: Ints, candidates: Float64Array, scene_of_candidate: Ints) -> Ints:
    """How many candidates of other scenes are at least as near as the nearest of the query's own; (queries,).

    Ties count against the query, so vectors that are all alike find nothing.

    Args:
        queries, candidates: unit vectors, shape (n, d) and (m, d).
        scene_of_query, scene_of_candidate: their scenes, shape (n,) and (m,).
    """
    ranks = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        block = slice(start, start + _QUERIES_AT_ONCE)
        similarity = queries[block] @ candidates.T
        own = scene_of_query[block, None] == scene_of_candidate
        best = np.where(own, similarity, -np.inf).max(axis=1, keepdims=True)
        ranks.append(((similarity >= best) & ~own).sum(axis=1))
    return np.concatenate(ranks)


def find_recall_hits(vectors: GroupedVectors) -> dict[str, Float64Array]:
    """Whether each query finds its own among the k nearest, by metric, as a number a scene; shape (scenes,).

    `recall@k`: an image looks for any of its texts among all texts. `text_to_image_recall@k`: a text
    looks for its image among all images, averaged over the scene's texts. Both as COCO's retrieval
    benchmarks count them.
    """
    if vectors.images is None:
        return {}
    scenes = np.arange(vectors.num_scenes)
    of_images = rank_own(vectors.images, scenes, vectors.texts, vectors.scene_of_text)
    of_texts = rank_own(vectors.texts, vectors.scene_of_text, vectors.images, scenes)
    counts = vectors.texts_a_scene()
    hits = {f"recall@{k}": (of_images < k).astype(np.float64) for k in RECALLS}
    return hits | {f"text_to_image_recall@{k}": vectors.sum_by_scene(of_texts < k) / counts for k in RECALLS}


@dataclass(frozen=True)
class Neighbourhood:
    """Where a query lands among the clean texts; a query is a noised text, or an image.

    Attributes:
        noise: standard deviation per coordinate; None for images.
        cosine_to_texts: mean cosine with its own text (all of the scene's texts, for an image).
        own_scene: share of queries whose nearest text, its own left out, is of the same scene; for
            images no text is left out. None where scenes have one text each.
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
        """For gap.json."""
        return asdict(self)


def _nearest(queries: Float64Array, vectors: GroupedVectors, leave_out: bool) -> NDArray[np.int64]:
    """The nearest texts of each query, nearest first; row i leaves text i out where asked; (queries, k)."""
    num = min(_NEAREST, len(vectors.texts) - leave_out)
    found = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        similarity = queries[start : start + _QUERIES_AT_ONCE] @ vectors.texts.T
        if leave_out:
            rows = np.arange(len(similarity))
            similarity[rows, start + rows] = -np.inf
        near = np.argpartition(-similarity, num - 1, axis=1)[:, :num]
        order = np.argsort(np.take_along_axis(-similarity, near, axis=1), axis=1)
        found.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(found)


def measure_neighbourhoods(vectors: GroupedVectors, noises: Sequence[float], seed: int = 0) -> list[Neighbourhood]:
    """Noised texts among the clean ones at each scale, then images among them, for comparison.

    Args:
        vectors: the clouds.
        noises: standard deviations per coordinate; every scale gets the same draws, scaled.
        seed: of the draws.
    """
    scenes = vectors.scene_of_text
    several = len(scenes) > vectors.num_scenes
    drawn = np.random.default_rng(seed).standard_normal(vectors.texts.shape)
    clean = _nearest(vectors.texts, vectors, leave_out=True)
    rows = []
    for std in noises:
        noised = normalize_rows(vectors.texts + std * drawn)
        near = _nearest(noised, vectors, leave_out=True)
        kept = [len(np.intersect1d(a, b)) for a, b in zip(near, clean, strict=True)]
        rows.append(
            Neighbourhood(
                noise=std,
                cosine_to_texts=float((noised * vectors.texts).sum(axis=1).mean()),
                own_scene=float((scenes[near[:, 0]] == scenes).mean()) if several else None,
                kept_neighbours=float(np.mean(kept) / clean.shape[1]),
                cosine_to_image=None
                if vectors.images is None
                else float((noised * vectors.images[scenes]).sum(axis=1).mean()),
            )
        )
    if vectors.images is not None:
        near = _nearest(vectors.images, vectors, leave_out=False)
        rows.append(
            Neighbourhood(
                noise=None,
                cosine_to_texts=float((vectors.images[scenes] * vectors.texts).sum(axis=1).mean()),
                own_scene=float((scenes[near[:, 0]] == np.arange(vectors.num_scenes)).mean()),
                kept_neighbours=None,
                cosine_to_image=1.0,
            )
        )
    return rows
