"""Retrieval recall and mean cosines of image and text vectors."""

import numpy as np

from close_transfer.core.arrays import FloatArray


def compute_recall_at_k(queries: FloatArray, candidates: FloatArray, k: int) -> float:
    """Compute the share of queries whose own candidate (the same row) is among the k nearest, in 0..1.

    Ties count against the query.

    Args:
        queries: unit vectors, shape (rows, dim).
        candidates: unit vectors of the same shape.
        k: number of nearest candidates.
    """
    similarity = queries @ candidates.T
    own_similarity = np.diag(similarity)[:, None]
    better = (similarity >= own_similarity).sum(axis=1) - 1
    return float((better < k).mean())


def compute_paired_cosine(images: FloatArray, texts: FloatArray) -> float:
    """Compute the mean cosine of an image with its own text; both are unit vectors, shape (rows, dim)."""
    return float((images * texts).sum(axis=1).mean())


def compute_unrelated_cosine(vectors: FloatArray) -> float:
    """Compute the mean cosine of two different rows of unit vectors, shape (rows, dim)."""
    num_rows = len(vectors)
    total = float(np.square(vectors.sum(axis=0, dtype=np.float64)).sum())
    return (total - num_rows) / (num_rows * (num_rows - 1))
