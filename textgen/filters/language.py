"""Takes out texts of another language, and babble: too few of their words are in a word list.

Words that begin with a capital letter inside a sentence are taken for names and count neither way, as do numbers.
One strange word never takes out a text that has two known ones.
"""

import re
from collections.abc import Sequence

from textgen.corpus.candidate import Candidate
from textgen.filters.words import Lexicon

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019)]*\s*$|^\W*$")
_SHOWN = 5


class Language:
    """A share of the words, at least, is in the lexicon."""

    name = "language"

    def __init__(self, lexicon: Lexicon, min_known: float) -> None:
        """Says what passes.

        Args:
            lexicon: of the language that is wanted.
            min_known: share of the counted words that must be known, 0 to 1.
        """
        self._lexicon, self._min_known = lexicon, min_known

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate.full_text) for candidate in candidates]

    def _find_reason(self, text: str) -> str | None:
        words = _list_counted_words(text)
        strange = [word for word in words if not self._lexicon.knows(word)]
        num_known = len(words) - len(strange)
        if not words:
            return None if _WORD.search(text) else "it holds no words"
        if num_known >= self._min_known * len(words) or (len(strange) == 1 and num_known >= 2):
            return None
        return (
            f"{num_known / len(words):.0%} of its words are in the list of language {self._lexicon.language!r}, of "
            f"{self._min_known:.0%} wanted; it has not {', '.join(strange[:_SHOWN])}"
        )


def _list_counted_words(text: str) -> list[str]:
    """The words that count, in lower case. Where all letters are capitals, every word counts."""
    is_all_capitals = text.isupper()
    words = []
    for match in _WORD.finditer(text):
        word = match.group()
        if word.islower() or is_all_capitals or _SENTENCE_END.search(text, 0, match.start()) or not _is_name(word):
            words.append(word.lower())
    return words


def _is_name(word: str) -> bool:
    """Whether it is written as names and abbreviations are; capitals inside a word are signs of babble.

    Scripts without case have no names by this rule.
    """
    return word[0].isupper() and (word[1:].islower() or (len(word) <= 5 and word.isupper()) or "-" in word)
