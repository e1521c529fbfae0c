"""What real CLIP vectors give without any training: the nearest training caption, and keywords by it."""

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import normalize_rows
from studies.real_pairs import Pairs, assign_folds

NEAREST = "nearest training caption"


def _compute_similarities(pairs: Pairs, folds: int) -> NDArray[np.floating]:
    """Cosine of every image with every caption, shape (pairs, pairs); -1 with captions of its own fold."""
    fold = assign_folds(len(pairs.captions), folds)
    cosines = normalize_rows(pairs.images) @ normalize_rows(pairs.texts).T
    return np.where(fold[:, None] == fold[None, :], -1.0, cosines)


def find_nearest_captions(pairs: Pairs, folds: int) -> list[str]:
    """For each image the caption of the other folds that is most similar to it."""
    return [pairs.captions[row] for row in _compute_similarities(pairs, folds).argmax(axis=1)]


def find_nearest_keywords(pairs: Pairs, labels: NDArray[np.bool_], folds: int) -> NDArray[np.floating]:
    """For each image and keyword the cosine of the nearest caption, of the other folds, whose scene has that keyword.

    Args:
        pairs: captions and images.
        labels: which scene has which keyword, shape (pairs, keywords).
        folds: how many there are.

    Returns:
        Shape (pairs, keywords).
    """
    similarities = _compute_similarities(pairs, folds)
    return np.stack([np.where(has_keyword, similarities, -1.0).max(axis=1) for has_keyword in labels.T], axis=1)
