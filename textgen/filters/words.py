"""Words of texts, and a lexicon that looks every word up once."""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import simplemma
from simplemma.strategies.dictionaries.dictionary_factory import SUPPORTED_LANGUAGES

from close_transfer.core.errors import UserError
from close_transfer.core.languages import match_language
from close_transfer.core.text_normalization import normalize_text

# Endings after an English apostrophe, which are not words.
_ENDINGS = frozenset({"s", "t", "d", "m", "re", "ve", "ll"})
# simplemma's English list lacks this form of "she", the 30th most frequent word of Flickr30k's captions.
_ALSO_KNOWN = {"en": frozenset({"her"})}
_LONGEST_ENTRY = 200  # characters; the longest of simplemma's words has fewer, and it is slow with longer ones
_PARTS = re.compile(r"['-]")
_ALPHANUMERIC = re.compile(r"[^\W_]+")


def fold_words(text: str) -> list[str]:
    """Return the words of a text as `normalize_text` compares them, without case and punctuation."""
    return normalize_text(text).split()


def list_runs(words: Sequence[str], n: int) -> list[str]:
    """Return all runs of n words, joined by spaces, in order and with repetitions."""
    if n == 2:  # the near-duplicate search makes millions of pairs, and this is faster
        return [f"{first} {second}" for first, second in pairwise(words)]
    return [" ".join(words[start : start + n]) for start in range(len(words) - n + 1)]


class Lexicon:
    """Word list and lemmas of one language, by simplemma."""

    def __init__(self, language: str | None) -> None:
        """Check the language.

        Args:
            language: code of a language, as of `core.languages`; with None no word is known, and every word is its own lemma.

        Raises:
            UserError: lists the known languages, if simplemma has no list for this one.
        """
        self.language = language if language is None else match_language(language, SUPPORTED_LANGUAGES)
        if self.language is None and language is not None:
            allowed = ", ".join(sorted(SUPPORTED_LANGUAGES))
            raise UserError(
                f"filters.language={language}: there is no word list for it. Give one of {allowed}, or null, which "
                "keeps texts of any language"
            )

    @cached_property
    def _known(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _lemmas(self) -> dict[str, str]:
        return {}

    def knows(self, word: str) -> bool:
        """Return True if a lower-case word is in the list, or all of its parts between hyphens and apostrophes are."""
        if (known := self._known.get(word)) is None:
            known = self._known[word] = self._is_in_list(word.replace("\u2019", "'"))
        return known

    def _is_in_list(self, word: str) -> bool:
        # A loop, because babble such as "dog's's's" has more endings than Python has stack.
        parts, length = word.split("'") if self.language == "en" else [word], len(word)
        while not (length <= _LONGEST_ENTRY and self._is_entry("'".join(parts))):
            if len(parts) == 1:
                return self._has_known_parts(parts[0])
            ending = parts.pop()
            if ending not in _ENDINGS:
                return False
            length -= len(ending) + 1
        return True

    def _is_entry(self, word: str) -> bool:
        if self.language is None or len(word) > _LONGEST_ENTRY:
            return False
        return word in _ALSO_KNOWN.get(self.language, ()) or simplemma.is_known(word, lang=self.language)

    def _has_known_parts(self, word: str) -> bool:
        parts = _PARTS.split(word)
        return len(parts) > 1 and all(map(self.knows, parts))

    def lemmatize(self, text: str) -> list[str]:
        """Return the lemmas of a text's words in lower case, in order; hyphens and apostrophes split words."""
        return [self._find_lemma(word) for word in _ALPHANUMERIC.findall(text.lower())]

    def _find_lemma(self, word: str) -> str:
        if (lemma := self._lemmas.get(word)) is None:
            lemma = word
            if self.language is not None and len(word) <= _LONGEST_ENTRY:
                lemma = simplemma.lemmatize(word, lang=self.language).lower()
            self._lemmas[word] = lemma
        return lemma
