"""Filters of texts that do not meet the recipe: missing keywords, and fields that do not match."""

from collections.abc import Mapping, Sequence

from close_transfer.core.text_normalization import normalize_text
from textgen.corpus.candidate import Candidate
from textgen.filters.words import Lexicon


class KeywordsPresent:
    """Stage that removes texts without their keywords; words are compared by their lemmas."""

    name = "keywords"

    def __init__(self, lexicon: Lexicon, *, every: bool) -> None:
        """Set the condition.

        Args:
            lexicon: lexicon with the lemmas; without a language, words are compared as they are written.
            every: True if all keywords must occur, False if one is enough. The words of a longer keyword must be
                consecutive.
        """
        self._lexicon, self._every = lexicon, every

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) if candidate.keywords else None for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        text = f" {' '.join(self._lexicon.lemmatize(candidate.text))} "
        missing = [word for word in candidate.keywords if f" {' '.join(self._lexicon.lemmatize(word))} " not in text]
        if not missing or (not self._every and len(missing) < len(candidate.keywords)):
            return None
        return f"does not hold {', '.join(map(repr, missing))}"


class FieldsAgree:
    """Stage that removes texts whose fields do not contain, or do not differ from, each other as required."""

    name = "fields"

    def __init__(self, must_contain: Mapping[str, str], must_differ: Sequence[str]) -> None:
        """Set the conditions; case and punctuation are ignored.

        Args:
            must_contain: field -> field that must contain its words, consecutively.
            must_differ: fields of which no two may be equal.
        """
        self._must_contain, self._must_differ = dict(must_contain), tuple(must_differ)

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason({"text": candidate.text, **candidate.fields}) for candidate in candidates]

    def _find_reason(self, fields: Mapping[str, str]) -> str | None:
        keys = {
            name: normalize_text(fields[name])
            for name in (*self._must_contain, *self._must_contain.values(), *self._must_differ)
        }
        for inner, outer in self._must_contain.items():
            if not keys[inner] or f" {keys[inner]} " not in f" {keys[outer]} ":
                return f"its {inner} {fields[inner]!r} is not in its {outer}"
        first: dict[str, str] = {}
        for name in self._must_differ:
            if first.setdefault(keys[name], name) != name:
                return f"its {first[keys[name]]} and its {name} say the same"
        return None
