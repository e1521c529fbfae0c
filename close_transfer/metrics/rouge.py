"""ROUGE-L of captions, equal to that of pycocoevalcap.

The longest common subsequence is found bit-parallel (Hyyro 2004, "Bit-parallel LCS-length computation revisited"),
one operation per word of a reference instead of one per pair of words.
"""

from collections.abc import Sequence

import numpy as np
from pycocoevalcap.rouge.rouge import Rouge

from close_transfer.core.arrays import Float64Array

_BETA = Rouge().beta


def compute_rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Float64Array:
    """Compute ROUGE-L of each image in 0..1, shape (images,).

    It combines the best precision and the best recall of all references. Words are separated by single spaces, so an
    empty text is one empty word, as in pycocoevalcap.

    Args:
        hypotheses: one caption per image.
        references: one or more captions per image, in the same order.
    """
    return np.array(
        [_score_image(hypothesis, group) for hypothesis, group in zip(hypotheses, references, strict=True)],
        dtype=np.float64,
    )


def _score_image(hypothesis: str, references: Sequence[str]) -> float:
    words = hypothesis.split(" ")
    places: dict[str, int] = {}
    for place, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << place
    most_common, recall = 0, 0.0
    for reference in references:
        reference_words = reference.split(" ")
        num_common = _count_common_words(places, len(words), reference_words)
        most_common = max(most_common, num_common)
        recall = max(recall, num_common / len(reference_words))
    if not most_common:
        return 0.0
    precision = most_common / len(words)
    return ((1 + _BETA**2) * precision * recall) / (recall + _BETA**2 * precision)


def _count_common_words(places: dict[str, int], num_words: int, others: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    Args:
        places: bits of the places at which each word of the first text occurs.
        num_words: number of words of the first text.
        others: words of the second text.
    """
    every_place = (1 << num_words) - 1
    free = every_place  # zeros are the places at which the length grows by one
    for word in others:
        if word in places:
            hits = free & places[word]
            free = ((free + hits) | (free - hits)) & every_place
    return num_words - free.bit_count()
