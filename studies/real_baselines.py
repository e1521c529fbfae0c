"""Training-free baselines on real CLIP vectors: the nearest training caption, and keywords by nearest captions."""

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import normalize_rows
from studies.real_pairs import Pairs, assign_folds

NEAREST = "nearest training caption"


def _compute_similarities(pairs: Pairs, folds: int) -> NDArray[np.floating]:
    """Return the cosine of every image with every caption, shape (pairs, pairs); -1 for captions of the image's fold."""
    fold = assign_folds(len(pairs.captions), folds)
    cosines = normalize_rows(pairs.images) @ normalize_rows(pairs.texts).T
    return np.where(fold[:, None] == fold[None, :], -1.0, cosines)


def find_nearest_captions(pairs: Pairs, folds: int) -> list[str]:
    """Return for each image the most similar caption of the other folds."""
    return [pairs.captions[row] for row in _compute_similarities(pairs, folds).argmax(axis=1)]


def find_nearest_keywords(pairs: Pairs, labels: NDArray[np.bool_], folds: int) -> NDArray[np.floating]:
    """Score each keyword for each image by its nearest caption of the other folds whose scene has the keyword.

    Args:
        pairs: captions and images.
        labels: True for each keyword that a scene has, shape (pairs, keywords).
        folds: number of folds.

    Returns:
        cosines of those captions, shape (pairs, keywords).
    """
    similarities = _compute_similarities(pairs, folds)
    return np.stack([np.where(has_keyword, similarities, -1.0).max(axis=1) for has_keyword in labels.T], axis=1)
