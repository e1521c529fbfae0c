"""Takes out what was not finished."""

import re
from collections.abc import Sequence

from textgen.corpus.candidate import Candidate

# English words that no whole text ends with; real captions that do, a few in 200,000, are cut short themselves.
_UNFINISHED = re.compile(r"\b(?:an?|the|and|or|because|while)$", re.IGNORECASE)


class Truncated:
    """Texts at the end of an answer that max_output_tokens ended, and English ones that end with "a", "the" or "and"."""

    name = "cut short"

    def __init__(self, language: str | None) -> None:
        """`language` is that of the texts; in another than English, or None, their last words are not looked at."""
        self._looks = language == "en"

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        if candidate.is_truncated:
            return "max_output_tokens ended it"
        match = _UNFINISHED.search(candidate.text) if self._looks else None
        return f'it ends with "{match.group()}"' if match else None
