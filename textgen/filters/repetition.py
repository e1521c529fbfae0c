"""Filter of texts that loop, as small language models sometimes do."""

import re
from collections.abc import Sequence

from close_transfer.core.text_normalization import normalize_text
from textgen.corpus.candidate import Candidate

TIMES = 4  # three times are ordinary emphasis: "very, very, very good"
_LOOP = re.compile(rf"(?<!\S)(\S+(?: \S+){{0,3}})(?: \1(?!\S)){{{TIMES - 1},}}")


class Repetition:
    """Stage that removes texts with the same one to four words four times in a row, ignoring case and punctuation."""

    name = "repetition"

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        for field in (candidate.text, *candidate.fields.values()):
            if match := _LOOP.search(normalize_text(field)):
                return f'says "{match.group(1)}" {TIMES} times in a row or more'
        return None
