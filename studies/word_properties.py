"""Recall of the most frequent nouns, modifiers and relations, as LiMBeR analyses captions (arXiv 2209.15162).

The words are the most frequent ones in the references of the evaluated images. Recall is how often a caption has a word when
the references of its image have it. With WordNet, nouns are grouped by category, and each expected noun gets the
similarity, by Wu and Palmer, of the caption's most similar noun: a caption may name the category and not the word.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import Float64Array
from close_transfer.metrics.bootstrap import score_sums
from studies.evaluated_captions import EvaluatedCaptions
from studies.word_finders import PROPERTIES, PicturebookFinder, TaggedFinder, WordFinder
from studies.wordnet import WordNet

Words = dict[str, list[str]]


@dataclass(frozen=True)
class _Counts:
    """Frequent words of one property, and what each caption has of them.

    Attributes:
        words: the words.
        expected: whether the references of each image have each word, shape (images, words).
        found: whether the caption has it and it is expected, of the same shape.
        similarity: similarity in 0..1 of the caption's most similar noun, 0 if the word is not expected; None for words
            that are not nouns, and without WordNet.
    """

    words: Sequence[str]
    expected: NDArray[np.bool_]
    found: NDArray[np.bool_]
    similarity: Float64Array | None

    def select(self, words: Sequence[str]) -> "_Counts":
        """Return the counts of some of the words."""
        columns = [self.words.index(word) for word in words]
        similarity = None if self.similarity is None else self.similarity[:, columns]
        return _Counts(words, self.expected[:, columns], self.found[:, columns], similarity)

    def compute_percentages(self, num_bootstrap: int) -> dict[str, Any]:
        """Return recall, and the mean similarity if it was measured, in percent with 95% intervals over images."""
        facts: dict[str, Any] = {"num_words": len(self.words), "num_expected": int(self.expected.sum())}
        if not facts["num_expected"]:
            return facts
        measured = {"recall": self.found, "similarity": self.similarity}
        columns = {name: values for name, values in measured.items() if values is not None}

        def divide(sums: Float64Array) -> dict[str, Float64Array]:
            with np.errstate(invalid="ignore", divide="ignore"):  # a resample may expect no word
                return {name: 100 * sums[:, place] / sums[:, 0] for place, name in enumerate(columns, start=1)}

        sums = np.stack([values.sum(axis=1, dtype=float) for values in (self.expected, *columns.values())], axis=1)
        values, intervals = score_sums(sums, divide, num_bootstrap)
        return facts | {name: {"value": values[name], "interval": list(intervals[name])} for name in columns}


def _choose_frequent(references: Sequence[Sequence[Words]], name: str, num_words: int) -> list[str]:
    counts = Counter(word for texts in references for words in texts for word in words[name])
    # Ties are in alphabetical order, so that the choice does not depend on the order of the images.
    return sorted(counts, key=lambda word: (-counts[word], word))[:num_words]


def _find_most_similar(word: str, nouns: Sequence[str], wordnet: WordNet) -> float:
    return max((wordnet.measure_similarity(word, noun) for noun in nouns), default=0.0)


def _count(
    references: Sequence[Sequence[Words]], captions: Sequence[Words], name: str, num_words: int, wordnet: WordNet | None
) -> _Counts:
    """Count the frequent words of one property; `wordnet` is None unless they are nouns."""
    words = _choose_frequent(references, name, num_words)
    expected_words = [{word for words in texts for word in words[name]} for texts in references]
    expected = np.array([[word in texts for word in words] for texts in expected_words], dtype=bool)
    found = expected & np.array([[word in caption[name] for word in words] for caption in captions], dtype=bool)
    similarity = None
    if wordnet is not None:
        similarity = np.zeros(expected.shape)
        for image, column in zip(*np.nonzero(expected), strict=True):
            similarity[image, column] = _find_most_similar(words[column], captions[image][name], wordnet)
    return _Counts(words, expected, found, similarity)


def _build_finder(evaluated: EvaluatedCaptions) -> WordFinder:
    if evaluated.is_builtin:
        return PicturebookFinder()
    return TaggedFinder(text for texts in evaluated.references for text in texts)


def _describe_words(counts: _Counts, wordnet: WordNet | None) -> list[dict[str, Any]]:
    num_expected = counts.expected.sum(axis=0)
    rows = []
    for column, word in enumerate(counts.words):
        total = int(num_expected[column])
        row = {"word": word, "num_expected": total, "recall": 100 * float(counts.found[:, column].sum()) / total}
        if wordnet is not None and counts.similarity is not None:
            similarity = 100 * float(counts.similarity[:, column].sum()) / total
            row |= {"similarity": similarity, "category": wordnet.find_category(word)}
        rows.append(row)
    return rows


def _group_by_category(nouns: Sequence[str], wordnet: WordNet) -> dict[str, list[str]]:
    by_category: dict[str, list[str]] = {}
    for noun in nouns:
        by_category.setdefault(wordnet.find_category(noun), []).append(noun)
    return by_category


def measure_properties(
    evaluated: EvaluatedCaptions, num_words: int, num_bootstrap: int, wordnet: WordNet | None
) -> dict[str, Any]:
    """Measure recall by property and by category of nouns.

    Args:
        evaluated: captions and their references.
        num_words: number of frequent words of each property.
        num_bootstrap: number of resamples of the images.
        wordnet: WordNet; None leaves categories and similarities out.

    Returns:
        the evaluation's facts; "properties" and "categories" by name, with recall, and the similarity of nouns; "words" of each property; and
        a "note" on how the words were found.

    Raises:
        UserError: if the parts of speech cannot be found.
    """
    finder = _build_finder(evaluated)
    references = [[finder.find(text) for text in texts] for texts in evaluated.references]
    captions = [finder.find(caption) for caption in evaluated.captions]
    counts = {
        name: _count(references, captions, name, num_words, wordnet if name == "nouns" else None) for name in PROPERTIES
    }
    by_category = _group_by_category(counts["nouns"].words, wordnet) if wordnet else {}
    return {
        **evaluated.facts,
        "num_images": len(captions),
        "properties": {name: counted.compute_percentages(num_bootstrap) for name, counted in counts.items()},
        "categories": {
            category: counts["nouns"].select(nouns).compute_percentages(num_bootstrap)
            for category, nouns in by_category.items()
        },
        "words": {name: _describe_words(counted, wordnet) for name, counted in counts.items()},
        "note": finder.note,
    }
