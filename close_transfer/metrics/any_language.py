"""Language-independent scores: by characters instead of words, or by words that are split by Unicode's rules."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain, islice

import numpy as np
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_char import TokenizerChar
from sacrebleu.tokenizers.tokenizer_intl import TokenizerV14International
from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

from close_transfer.core.arrays import Float64Array
from close_transfer.core.languages import find_written_language
from close_transfer.metrics.bootstrap import Scores, average_scores

# Languages written without spaces between words; they are split into characters.
_WITHOUT_SPACES = ("ja", "th", "lo", "km", "my")
# Thai and Lao, Burmese, Khmer, kana, Chinese characters.
_WRITTEN_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
)
_NUM_LOOKED_AT = 1000  # groups of texts whose script is looked at


@cache
def _get_splitter(language: str) -> Callable[[str], str]:
    if language == "zh":
        return TokenizerZh()
    return TokenizerChar() if language in _WITHOUT_SPACES else TokenizerV14International()


def split_words(texts: Sequence[Sequence[str]], language: str) -> list[list[str]]:
    """Split texts into lower-case words, joined by single spaces, without punctuation, grouped like the texts.

    Words are those of sacrebleu: split at Unicode punctuation and spaces (mteval-v14), Chinese at each Chinese
    character, and languages without spaces at each character.

    Args:
        texts: groups of texts.
        language: code of the language, as of `core.languages`.

    Raises:
        UserError: if the code names no language.
    """
    split = _get_splitter(find_written_language(language, "language"))
    return [[" ".join(filter(_has_letters, split(text.casefold()).split())) for text in group] for group in texts]


def describe_splitting(texts: Iterable[Sequence[str]], language: str) -> tuple[str, ...]:
    """Return a note if most letters belong to a script without spaces, and words of the language are split at spaces."""
    written = find_written_language(language, "language")
    if written == "zh" or written in _WITHOUT_SPACES:
        return ()
    letters = "".join(filter(str.isalpha, chain.from_iterable(chain.from_iterable(islice(texts, _NUM_LOOKED_AT)))))
    if 2 * len(_WRITTEN_WITHOUT_SPACES.findall(letters)) <= len(letters):
        return ()
    return (
        f"most letters belong to a script without spaces, but task.language={language} splits words at spaces, so whole texts count "
        "as words. Give the language of the texts, such as task.language=zh or ja",
    )


def _has_letters(word: str) -> bool:
    return any(character.isalnum() for character in word)


def compute_chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Float64Array:
    """Compute chrF of each text in 0 to 100, against the best matching reference; shape (texts,).

    chrF uses character n-grams up to six, and recall counts twice (Popovic 2015, "chrF: character n-gram F-score"). It
    is computed by sacrebleu, but ignores case, like the other caption scores: models learn to write in lower case
    (`task.lowercase_targets`), so case would limit the best possible score.
    """
    scorer = CHRF()
    return np.array(
        [
            scorer.sentence_score(hypothesis.casefold(), [reference.casefold() for reference in group]).score
            for hypothesis, group in zip(hypotheses, references, strict=True)
        ]
    )


def compute_exact_matches(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Float64Array:
    """Return 100 for each text that equals one of its references except for case and spaces, else 0; shape (texts,)."""
    return np.array(
        [
            100.0 * (_normalize(hypothesis) in map(_normalize, group))
            for hypothesis, group in zip(hypotheses, references, strict=True)
        ]
    )


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split())


def score_texts(hypotheses: Sequence[str], references: Sequence[Sequence[str]], num_resamples: int) -> Scores:
    """Compute mean chrF and the share of exact matches, with intervals; arguments as of `compute_chrf`."""
    by_text = {
        "chrF": compute_chrf(hypotheses, references),
        "exact_match": compute_exact_matches(hypotheses, references),
    }
    values, intervals = average_scores(by_text, num_resamples)
    return Scores(values, intervals, by_text["chrF"].tolist(), "chrF")
