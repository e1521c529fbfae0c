"""Takes out texts that are shorter or longer than was asked for, or of which a part is missing."""

from collections.abc import Sequence

from textgen.corpus.candidate import Candidate


class Length:
    """Words of `text` between two numbers, and no field empty; words are what spaces divide."""

    name = "length"

    def __init__(self, words: tuple[int, int]) -> None:
        self._min_words, self._max_words = words

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        count = len(candidate.text.split())
        if not self._min_words <= count <= self._max_words:
            return f"{count} words; {self._min_words} to {self._max_words} were asked for"
        return next((f"its {name} is empty" for name, value in candidate.fields.items() if not value.strip()), None)
