"""Filter of texts that are too short, too long or incomplete."""

from collections.abc import Sequence

from textgen.corpus.candidate import Candidate


class Length:
    """Stage that removes texts with too few or too many space-separated words, or with an empty field."""

    name = "length"

    def __init__(self, words: tuple[int, int]) -> None:
        self._min_words, self._max_words = words

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        count = len(candidate.text.split())
        if not self._min_words <= count <= self._max_words:
            return f"{count} words; {self._min_words} to {self._max_words} were asked for"
        return next((f"its {name} is empty" for name, value in candidate.fields.items() if not value.strip()), None)
