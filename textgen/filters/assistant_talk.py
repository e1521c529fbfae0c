"""Filter of refusals and of an assistant's talk about its answer."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from textgen.corpus.candidate import Candidate

_SURROUNDING_MARKS = "\"'*\u201c\u201d\u2018 \t\r\n"  # quotation marks and stars


@cache
def _compile_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Compile the patterns of assistant_talk.txt into one for the beginning of a field and one for anywhere in it."""
    lines = files("textgen.filters").joinpath("assistant_talk.txt").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    first = [pattern.removeprefix("^") for pattern in patterns if pattern.startswith("^")]
    # `\b` once before all patterns is faster: where no word begins, one test rejects them all.
    anywhere = [pattern.removeprefix(r"\b") for pattern in patterns if not pattern.startswith("^")]
    return _join_patterns("", first), _join_patterns(r"\b", anywhere)


def _join_patterns(before: str, patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile(before + "(?:" + "|".join(f"(?:{pattern})" for pattern in patterns) + ")", re.IGNORECASE)


class AssistantTalk:
    """Stage that removes texts with a phrase of assistant_talk.txt in any field."""

    name = "refusals and assistant talk"

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        first, anywhere = _compile_patterns()
        for field in (candidate.text, *candidate.fields.values()):
            text = field.replace("\u2019", "'").strip(_SURROUNDING_MARKS)
            if match := first.match(text) or anywhere.search(text):
                return f'says "{match.group()}", as assistants do'
        return None
