"""How well images and texts find each other, and how far apart they stay."""

import numpy as np

from close_transfer.core.arrays import FloatArray


def compute_recall_at_k(queries: FloatArray, candidates: FloatArray, k: int) -> float:
    """Share of queries whose own candidate (the same row) is among the k nearest, in 0..1.

    Ties count against the query.

    Args:
        queries, candidates: unit vectors, shape (rows, dim) both.
        k: how many are looked at.
    """
    similarity = queries @ candidates.T
    own_similarity = np.diag(similarity)[:, None]
    better = (similarity >= own_similarity).sum(axis=1) - 1
    return float((better < k).mean())


def compute_paired_cosine(images: FloatArray, texts: FloatArray) -> float:
    """Mean cosine of an image with its own text; unit vectors, shape (rows, dim) both."""
    return float((images * texts).sum(axis=1).mean())


def compute_unrelated_cosine(vectors: FloatArray) -> float:
    """Mean cosine of two different rows; unit vectors, shape (rows, dim)."""
    num_rows = len(vectors)
    total = float(np.square(vectors.sum(axis=0, dtype=np.float64)).sum())
    return (total - num_rows) / (num_rows * (num_rows - 1))
