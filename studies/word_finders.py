"""Nouns, modifiers and relations of captions: Picturebook's known words, or words that a tagger sorts."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

from close_transfer.core.errors import UserError
from studies.word_kinds import find_words

PROPERTIES = ("nouns", "modifiers", "relations")

_PICTUREBOOK_TYPES = {
    "nouns": ("kind", "place", "time"),
    "modifiers": ("colour", "size", "count"),
    "relations": ("relation",),
}
# Beginnings of the Penn Treebank's tags. Numbers modify nouns; verbs and prepositions relate them.
_TAGS = {"NN": "nouns", "JJ": "modifiers", "CD": "modifiers", "VB": "relations", "IN": "relations"}
# Verbs that only help others, and words with a preposition's tag that join sentences.
_LEFT_OUT = frozenset(
    "be am is are was were been being have has had having do does did doing that while as if because than whether".split()  # noqa: SIM905
)


class WordFinder(Protocol):
    """Finder of the words of a text by property.

    Attributes:
        note: how the words were found, one sentence.
    """

    note: str

    def find(self, text: str) -> dict[str, list[str]]:
        """Return the words of each property, in the text's order."""


class PicturebookFinder:
    """Finder of Picturebook's words, which are all known; synonyms are one word."""

    note = (
        "Nouns are Picturebook's kinds, places and times; modifiers are its colours, sizes and counts. Synonyms count "
        "as one word."
    )

    def find(self, text: str) -> dict[str, list[str]]:
        """Return the words of each property."""
        return {
            name: [word for kind in kinds for word in sorted(find_words(text, kind))]
            for name, kinds in _PICTUREBOOK_TYPES.items()
        }


def _load_tagger() -> Callable[[str], list[tuple[str, str]]]:
    try:
        from textblob.en import tag
    except ImportError as error:
        raise UserError(
            "analysis=properties needs textblob, which finds the parts of speech. Install it by pip install textblob"
        ) from error
    tagger: Callable[[str], list[tuple[str, str]]] = tag
    return tagger


class TaggedFinder:
    """Finder of words by the part of speech that a tagger gives them most often in the references.

    One property per word makes the count independent of mistakes of the tagger in single captions.
    """

    note = (
        "Parts of speech are guesses of textblob's PatternTagger; each word has the one that it has most often in the "
        "references. Modifiers are adjectives and numbers; relations are prepositions and verbs without be, have and "
        "do. Nouns are counted in the singular, other words as they are written."
    )

    def __init__(self, references: Iterable[str]) -> None:
        """Tag the references.

        Raises:
            UserError: if the tagger is not installed.
        """
        import simplemma

        self._tag = _load_tagger()
        self._lemmatize = simplemma.lemmatize
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for text in references:
            for word, tag in self._tag(text.lower()):
                counts[word][_TAGS.get(tag[:2], "")] += 1
        self._properties = {word: max(counted, key=counted.__getitem__) for word, counted in counts.items()}

    def find(self, text: str) -> dict[str, list[str]]:
        """Return the words of each property."""
        words: dict[str, list[str]] = {name: [] for name in PROPERTIES}
        for word, tag in self._tag(text.lower()):
            name = self._properties.get(word, _TAGS.get(tag[:2], ""))
            if name and word not in _LEFT_OUT and re.fullmatch(r"[a-z][a-z-]*", word):
                words[name].append(self._lemmatize(word, lang="en") if name == "nouns" else word)
        return words
