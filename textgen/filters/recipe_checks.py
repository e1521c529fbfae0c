"""Takes out texts that are not what the recipe asked for: keywords missing, fields that do not fit together."""

from collections.abc import Mapping, Sequence

from close_transfer.core.text_normalization import normalize_text
from textgen.corpus.candidate import Candidate
from textgen.filters.words import Lexicon


class KeywordsPresent:
    """The lemmas of a candidate's keywords, all or any, are among the lemmas of its text."""

    name = "keywords"

    def __init__(self, lexicon: Lexicon, *, every: bool) -> None:
        """Says what passes.

        Args:
            lexicon: knows the lemmas; without a language, words are compared as they are written.
            every: whether all keywords must be there, or one. Keywords of several words must follow each other.
        """
        self._lexicon, self._every = lexicon, every

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) if candidate.keywords else None for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        text = f" {' '.join(self._lexicon.lemmas(candidate.text))} "
        missing = [word for word in candidate.keywords if f" {' '.join(self._lexicon.lemmas(word))} " not in text]
        if not missing or (not self._every and len(missing) < len(candidate.keywords)):
            return None
        return f"does not hold {', '.join(map(repr, missing))}"


class FieldsAgree:
    """A field holds what it must hold of another, and fields that must differ do."""

    name = "fields"

    def __init__(self, found_in: Mapping[str, str], differ: Sequence[str]) -> None:
        """Says what passes; case and punctuation do not count.

        Args:
            found_in: field -> field whose words must hold its words, in one run.
            differ: fields of which no two may say the same.
        """
        self._found_in, self._differ = dict(found_in), tuple(differ)

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason({"text": candidate.text, **candidate.fields}) for candidate in candidates]

    def _find_reason(self, fields: Mapping[str, str]) -> str | None:
        keys = {
            name: normalize_text(fields[name]) for name in (*self._found_in, *self._found_in.values(), *self._differ)
        }
        for inner, outer in self._found_in.items():
            if not keys[inner] or f" {keys[inner]} " not in f" {keys[outer]} ":
                return f"its {inner} {fields[inner]!r} is not in its {outer}"
        first: dict[str, str] = {}
        for name in self._differ:
            if first.setdefault(keys[name], name) != name:
                return f"its {first[keys[name]]} and its {name} say the same"
        return None
