"""BLEU of captions, equal to that of pycocoevalcap.

Its scorer counts one caption after the other. Here all are counted at once, from n-grams that CIDEr uses too.
"""

import numpy as np

from close_transfer.core.arrays import Float64Array, IntArray
from close_transfer.metrics.ngrams import MAX_NGRAM, CaptionNgrams

# pycocoevalcap's constants: a precision is 0 if there are no n-grams, and no length is divided by 0.
_TINY, _SMALL = 1e-15, 1e-9

_GUESSES, _MATCHES = slice(2, 2 + MAX_NGRAM), slice(2 + MAX_NGRAM, 2 + 2 * MAX_NGRAM)


def count_bleu_statistics(ngrams: CaptionNgrams) -> Float64Array:
    """Count per image: test length, closest reference length, 4 guesses, 4 matches; shape (images, 10)."""
    lengths = ngrams.caption_lengths
    guesses = [np.maximum(lengths - n, 0) for n in range(MAX_NGRAM)]
    return np.column_stack([lengths, _find_closest_lengths(ngrams), *guesses, *_count_matches(ngrams)]).astype(float)


def _find_closest_lengths(ngrams: CaptionNgrams) -> IntArray:
    """Return the reference length that is closest to the caption's; of two, the shorter one."""
    distances = np.abs(ngrams.reference_lengths - ngrams.caption_lengths[ngrams.images])
    order = np.lexsort((ngrams.reference_lengths, distances, ngrams.images))
    _, first = np.unique(ngrams.images, return_index=True)
    return ngrams.reference_lengths[order[first]]


def _count_matches(ngrams: CaptionNgrams) -> list[IntArray]:
    """Count the n-grams of each caption, each at most as often as a single reference has it, for n = 1 to 4."""
    by_length = []
    for captions, references, (rows, matched) in zip(ngrams.captions, ngrams.references, ngrams.matches, strict=True):
        most = np.zeros(len(captions.counts), dtype=np.int64)
        np.maximum.at(most, rows, references.counts[matched])
        clipped = np.minimum(most, captions.counts)
        totals = np.bincount(captions.texts, weights=clipped, minlength=len(ngrams.caption_lengths))
        by_length.append(totals.astype(np.int64))
    return by_length


def compute_bleu(sums: Float64Array) -> dict[str, Float64Array]:
    """Compute BLEU-1 to BLEU-4 of each row of summed statistics, in percent."""
    test_length, reference_length = sums[:, 0], sums[:, 1]
    precisions = (sums[:, _MATCHES] + _TINY) / (sums[:, _GUESSES] + _SMALL)
    ratio = (test_length + _TINY) / (reference_length + _SMALL)
    brevity = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    products = np.cumprod(precisions, axis=1)
    return {f"BLEU-{n}": 100 * brevity * products[:, n - 1] ** (1 / n) for n in range(1, MAX_NGRAM + 1)}
