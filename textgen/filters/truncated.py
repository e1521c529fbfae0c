"""Filter of truncated texts."""

import re
from collections.abc import Sequence

from textgen.corpus.candidate import Candidate

# English words that no complete text ends with. A few in 200,000 real captions do, and these are truncated themselves.
_UNFINISHED = re.compile(r"\b(?:an?|the|and|or|because|while)$", re.IGNORECASE)


class Truncated:
    """Stage that removes texts that max_output_tokens ended, and English texts that end with "a", "the", "and" and so on."""

    name = "cut short"

    def __init__(self, language: str | None) -> None:
        """Choose the checks; the last word is checked only if `language` is "en"."""
        self._checks_last_word = language == "en"

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        if candidate.is_truncated:
            return "max_output_tokens ended it"
        match = _UNFINISHED.search(candidate.text) if self._checks_last_word else None
        return f'it ends with "{match.group()}"' if match else None
