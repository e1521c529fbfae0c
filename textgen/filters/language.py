"""Filter of texts in another language and of babble: too few of their words are in a word list.

Numbers do not count, and neither do words with a capital letter inside a sentence, which are probably names. A single
unknown word never removes a text with two known words.
"""

import re
from collections.abc import Sequence

from textgen.corpus.candidate import Candidate
from textgen.filters.words import Lexicon

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_WORD_CHARACTER = re.compile(r"\w")
_SENTENCE_ENDS = (".", "!", "?", "\u2026")
_CLOSING_MARKS = "\"'\u201d\u2019)"  # after the end of a sentence
_MAX_SHOWN = 5  # unknown words that a reason lists


class Language:
    """Stage that removes texts with too small a share of words in the lexicon."""

    name = "language"

    def __init__(self, lexicon: Lexicon, min_known: float) -> None:
        """Set the limit.

        Args:
            lexicon: lexicon of the wanted language.
            min_known: smallest share of the counted words that must be known, 0 to 1.
        """
        self._lexicon, self._min_known = lexicon, min_known

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate.full_text) for candidate in candidates]

    def _find_reason(self, text: str) -> str | None:
        words = _list_counted_words(text)
        unknown = [word for word in words if not self._lexicon.knows(word)]
        num_known = len(words) - len(unknown)
        if not words:
            return None if _WORD.search(text) else "it holds no words"
        if num_known >= self._min_known * len(words) or (len(unknown) == 1 and num_known >= 2):
            return None
        return (
            f"{num_known / len(words):.0%} of its words are in the list of language {self._lexicon.language!r}, of "
            f"{self._min_known:.0%} wanted; it has not {', '.join(unknown[:_MAX_SHOWN])}"
        )


def _list_counted_words(text: str) -> list[str]:
    """Return the words that count, in lower case; if all letters are capitals, every word counts."""
    is_all_capitals = text.isupper()
    words: list[str] = []
    end = 0  # of the word before: no word reads the text before it again, so the time is linear
    for match in _WORD.finditer(text):
        word, gap = match.group(), text[end : match.start()]
        begins_sentence = gap.rstrip().rstrip(_CLOSING_MARKS).endswith(_SENTENCE_ENDS)
        begins_text = not end and not _WORD_CHARACTER.search(gap)
        if word.islower() or is_all_capitals or begins_sentence or begins_text or not _is_name(word):
            words.append(word.lower())
        end = match.end()
    return words


def _is_name(word: str) -> bool:
    """Return True if a word is written like a name or an abbreviation.

    Capitals inside a word are a sign of babble. Scripts without case have no names by this rule.
    """
    return word[0].isupper() and (word[1:].islower() or (len(word) <= 5 and word.isupper()) or "-" in word)
