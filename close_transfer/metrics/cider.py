"""CIDEr (Vedantam et al. 2015, CIDEr-D with sigma 6) of captions, equal to that of pycocoevalcap.

Its scorer weighs one caption after the other. Here all are weighed at once. `np.bincount` adds numbers in the order in
which they are given, so sums are rounded as in that scorer.
"""

import numpy as np

from close_transfer.core.arrays import Float64Array, IntArray
from close_transfer.metrics.ngrams import CaptionNgrams, NgramTable

_SIGMA = 6.0
"""Standard deviation of the penalty for a difference in length, as in pycocoevalcap."""


def compute_cider(ngrams: CaptionNgrams) -> Float64Array:
    """Compute CIDEr of each image in 0..10, shape (images,); the document frequencies are those of all references."""
    num_images, num_references = len(ngrams.caption_lengths), len(ngrams.images)
    penalties = _compute_length_penalties(ngrams)
    by_length = []
    for captions, references, (rows, matched) in zip(ngrams.captions, ngrams.references, ngrams.matches, strict=True):
        rarity = np.log(float(num_images)) - np.log(np.maximum(_count_images(references, ngrams.images), 1.0))
        caption_weights = captions.counts * rarity[captions.ngrams]
        reference_weights = references.counts * rarity[references.ngrams]
        norms = _compute_norms(captions, caption_weights, num_images)[ngrams.images] * _compute_norms(
            references, reference_weights, num_references
        )
        # An n-gram counts at most as often as the reference has it.
        weights = reference_weights[matched]
        products = np.minimum(caption_weights[rows], weights) * weights
        similarity = _add_by_row(references.texts[matched], products, num_references)
        np.divide(similarity, norms, out=similarity, where=norms != 0)
        by_length.append(_add_by_row(ngrams.images, similarity * penalties, num_images))
    # pycocoevalcap takes the mean over n in this order too, then over references.
    sizes = np.bincount(ngrams.images, minlength=num_images)
    return np.stack(by_length, axis=1).mean(axis=1) / sizes * 10.0


def _count_images(references: NgramTable, images: IntArray) -> IntArray:
    """Count the images with a reference that has the n-gram, shape (n-grams,)."""
    distinct = np.unique(images[references.texts] * references.num_ngrams + references.ngrams)
    return np.bincount(distinct % max(references.num_ngrams, 1), minlength=references.num_ngrams)


def _compute_norms(table: NgramTable, weights: Float64Array, num_texts: int) -> Float64Array:
    # Python's power as in pycocoevalcap, because a product may differ from it in the last bit.
    squares = np.array([weight**2 for weight in weights.tolist()], dtype=np.float64)
    return np.sqrt(_add_by_row(table.texts, squares, num_texts))


def _add_by_row(rows: IntArray, numbers: Float64Array, num_rows: int) -> Float64Array:
    """Add the numbers of each row, in the given order."""
    # NumPy counts in integers if there are no numbers.
    return np.bincount(rows, weights=numbers, minlength=num_rows).astype(np.float64, copy=False)


def _compute_length_penalties(ngrams: CaptionNgrams) -> Float64Array:
    """Compute the factor in 0..1 of each reference for its difference in length, shape (references,).

    pycocoevalcap counts bigrams, so a text of one word is as long as an empty one.
    """
    captions, references = (
        np.maximum(lengths - 1, 0) for lengths in (ngrams.caption_lengths, ngrams.reference_lengths)
    )
    distinct, positions = np.unique(captions[ngrams.images] - references, return_inverse=True)
    # Python's power, because NumPy's may differ in the last bit.
    return np.array([np.e ** (-(float(delta) ** 2) / (2 * _SIGMA**2)) for delta in distinct])[positions]
