"""N-gram counts of captions and of their references, which BLEU and CIDEr share.

The n-grams are those of pycocoevalcap: words are separated by any space. The distinct n-grams of a text are in the order
of their first occurrence, because CIDEr adds their weights in this order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from close_transfer.core.arrays import IntArray

MAX_NGRAM = 4
"""Number of words in the longest n-grams of BLEU and CIDEr."""


@dataclass(frozen=True)
class NgramTable:
    """Distinct n-grams of each text, for one n: one row per text and n-gram, ordered by text.

    Attributes:
        texts: index of the text, shape (rows,).
        ngrams: number of the n-gram in 0..num_ngrams - 1, the same for all texts, shape (rows,).
        counts: number of times that it occurs in the text, shape (rows,).
        num_ngrams: number of distinct n-grams in all texts.
    """

    texts: IntArray
    ngrams: IntArray
    counts: IntArray
    num_ngrams: int


@dataclass(frozen=True)
class CaptionNgrams:
    """N-grams of one caption per image and of its references.

    Attributes:
        caption_lengths: number of words of each image's caption, shape (images,).
        reference_lengths: number of words of each reference, shape (references,).
        images: index of each reference's image, ascending, shape (references,).
        captions: tables of the captions for n = 1 to 4.
        references: tables of the references for n = 1 to 4.
        matches: the n-grams that a reference shares with its image's caption, for n = 1 to 4: rows of both tables,
            shape (2, matches), ordered by reference, then by their order in the caption.
    """

    caption_lengths: IntArray
    reference_lengths: IntArray
    images: IntArray
    captions: list[NgramTable]
    references: list[NgramTable]
    matches: list[IntArray]


def count_caption_ngrams(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionNgrams:
    """Count the n-grams of captions and references, and find those that they share.

    Args:
        hypotheses: one caption per image, words separated by spaces.
        references: one or more captions per image, in the same order.

    Raises:
        ValueError: if the numbers of images differ, or an image has no reference.
    """
    num_images = len(hypotheses)
    sizes = [len(group) for group in references]
    if len(sizes) != num_images or not all(sizes):
        raise ValueError(f"{num_images} captions need as many groups of references, and no group may be empty")
    words = [text.split() for text in (*hypotheses, *chain.from_iterable(references))]
    lengths = np.array([len(text) for text in words], dtype=np.int64)
    images = np.repeat(np.arange(num_images), sizes)
    splits = [_split_table(table, num_images) for table in _count_ngrams(words, lengths)]
    return CaptionNgrams(
        caption_lengths=lengths[:num_images],
        reference_lengths=lengths[num_images:],
        images=images,
        captions=[captions for captions, _ in splits],
        references=[others for _, others in splits],
        matches=[_match_ngrams(captions, others, images) for captions, others in splits],
    )


def _count_ngrams(texts: Sequence[Sequence[str]], lengths: IntArray) -> list[NgramTable]:
    numbers: dict[str, int] = {}
    words = np.array([numbers.setdefault(word, len(numbers)) for text in texts for word in text], dtype=np.int64)
    text_of_word = np.repeat(np.arange(len(texts)), lengths)
    words_left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))
    starts, ngrams = np.arange(len(words)), words
    tables = [_count_by_text(text_of_word, ngrams, len(numbers))]
    for n in range(2, MAX_NGRAM + 1):
        is_inside = words_left[starts] >= n
        starts = starts[is_inside]
        # An n-gram is the one of n - 1 words at the same place, and the word after it.
        pairs = ngrams[is_inside] * len(numbers) + words[starts + n - 1]
        distinct, ngrams = np.unique(pairs, return_inverse=True)
        tables.append(_count_by_text(text_of_word[starts], ngrams, len(distinct)))
    return tables


def _count_by_text(texts: IntArray, ngrams: IntArray, num_ngrams: int) -> NgramTable:
    _, first, counts = np.unique(texts * num_ngrams + ngrams, return_index=True, return_counts=True)
    # Back in the order of the texts: the unique keys are sorted by n-gram.
    count_at = np.zeros(len(texts), dtype=np.int64)
    count_at[first] = counts
    kept = np.flatnonzero(count_at)
    return NgramTable(texts[kept], ngrams[kept], count_at[kept], num_ngrams)


def _split_table(table: NgramTable, num_captions: int) -> tuple[NgramTable, NgramTable]:
    """Split a table of captions and references, in this order; the references are numbered from 0 again."""
    end = int(np.searchsorted(table.texts, num_captions))
    captions = NgramTable(table.texts[:end], table.ngrams[:end], table.counts[:end], table.num_ngrams)
    others = NgramTable(table.texts[end:] - num_captions, table.ngrams[end:], table.counts[end:], table.num_ngrams)
    return captions, others


def _match_ngrams(captions: NgramTable, references: NgramTable, images: IntArray) -> IntArray:
    caption_keys = captions.texts * captions.num_ngrams + captions.ngrams
    if not len(caption_keys):
        return np.empty((2, 0), dtype=np.int64)
    keys = images[references.texts] * references.num_ngrams + references.ngrams
    order = np.argsort(caption_keys)
    places = np.searchsorted(caption_keys, keys, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)]
    shared = np.flatnonzero(caption_keys[rows] == keys)
    rows = rows[shared]
    by_caption = np.lexsort((rows, references.texts[shared]))
    return np.stack([rows[by_caption], shared[by_caption]])
