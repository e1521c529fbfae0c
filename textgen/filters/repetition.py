"""Takes out texts that are caught in a loop, as small language models are at times."""

import re
from collections.abc import Sequence

from close_transfer.core.text_normalization import normalize_text
from textgen.corpus.candidate import Candidate

TIMES = 4  # "very, very, very good" is honest
_LOOP = re.compile(rf"(?<!\S)(\S+(?: \S+){{0,3}})(?: \1(?!\S)){{{TIMES - 1},}}")


class Repetition:
    """No word, and no run of up to four words, comes four times in a row; case and punctuation do not count."""

    name = "repetition"

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        for field in (candidate.text, *candidate.fields.values()):
            if match := _LOOP.search(normalize_text(field)):
                return f'says "{match.group(1)}" {TIMES} times in a row or more'
        return None
