"""Scores that assume no language: characters instead of words, and words by Unicode's rules instead of English ones."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_char import TokenizerChar
from sacrebleu.tokenizers.tokenizer_intl import TokenizerV14International
from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

from close_transfer.core.arrays import Float64Array
from close_transfer.metrics.bootstrap import Scores, average_scores

_WITHOUT_SPACES = ("ja", "th", "lo", "km", "my")  # written without spaces between words


@cache
def _get_splitter(language: str) -> Callable[[str], str]:
    if language == "zh":
        return TokenizerZh()
    return TokenizerChar() if language in _WITHOUT_SPACES else TokenizerV14International()


def split_words(texts: Sequence[Sequence[str]], language: str) -> list[list[str]]:
    """Words in lower case joined by single spaces, punctuation removed, grouped as the texts are.

    Words are sacrebleu's: split at Unicode punctuation (as mteval-v14), Chinese by its characters and all else by spaces,
    languages without spaces by character.

    Args:
        texts: groups of texts.
        language: code of ISO 639.
    """
    split = _get_splitter(language)
    return [[" ".join(filter(_has_letters, split(text.casefold()).split())) for text in group] for group in texts]


def _has_letters(word: str) -> bool:
    return any(character.isalnum() for character in word)


def compute_chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Float64Array:
    """chrF of each text in 0 to 100, against the reference that fits it best; shape (texts,).

    Character n-grams up to six, recall counting twice (Popovic 2015, "chrF: character n-gram F-score"), by sacrebleu.
    Unlike there, case is folded on both sides, as by the scores that stand beside it: models learn to write lower case
    (`task.lowercase_targets`), which would cap what the best of them can have.
    """
    scorer = CHRF()
    return np.array(
        [
            scorer.sentence_score(hypothesis.casefold(), [reference.casefold() for reference in group]).score
            for hypothesis, group in zip(hypotheses, references, strict=True)
        ]
    )


def compute_exact_matches(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Float64Array:
    """100 where a text is one of its references but for case and spaces, else 0; shape (texts,)."""
    return np.array(
        [
            100.0 * (_normalize(hypothesis) in map(_normalize, group))
            for hypothesis, group in zip(hypotheses, references, strict=True)
        ]
    )


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split())


def score_texts(hypotheses: Sequence[str], references: Sequence[Sequence[str]], num_resamples: int) -> Scores:
    """chrF and exact matches, means over the texts with their intervals; arguments as of `compute_chrf`."""
    by_text = {
        "chrF": compute_chrf(hypotheses, references),
        "exact_match": compute_exact_matches(hypotheses, references),
    }
    values, intervals = average_scores(by_text, num_resamples)
    return Scores(values, intervals, by_text["chrF"].tolist(), "chrF")
