"""Filter of texts with leaked parts of the prompt."""

import re
from collections.abc import Sequence

from textgen.corpus.candidate import Candidate
from textgen.filters.words import fold_words, list_runs

RUN_LENGTH = 5  # words in a row; real captions share shorter phrases with a prompt by chance
_JINJA_MARKS = (("{{", "}}"), ("{%", "%}"), ("{#", "#}"))
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_NAMED_GAP = re.compile(r"\{\w+\}|\[[A-Za-z][\w ]*\]")
_TEMPLATE_LABEL = re.compile(r"^\W*(\w[\w \-]{0,30}):", re.MULTILINE)  # "Asks for:", at the beginning of a line
_LABELS = (
    "keyword",
    "caption",
    "text",
    "sentence",
    "example",
    "answer",
    "question",
    "input",
    "output",
    "prompt",
    "style",
    "word",
    "description",
    "option",
    "response",
    "result",
    "version",
    "system",
    "user",
    "assistant",
)
_ADJECTIVES = "(?:my|the|photo|image|final|revised|new|corrected|possible|short|alternative|another)"


class PromptLeaks:
    """Stage that removes texts with five words in a row of the template, a placeholder, or a label at their beginning."""

    name = "leaked prompt"

    def __init__(self, instructions: str, labels: Sequence[str]) -> None:
        """Collect the template's phrases and labels.

        Args:
            instructions: the template's own words; a phrase does not continue across a placeholder.
            labels: further labels of a field, besides "keywords", "caption" and similar words, and besides the
                beginnings of the template's lines up to a colon.
        """
        pieces = [piece for part in _JINJA.split(instructions) for piece in _NAMED_GAP.split(part)]
        self._runs = {run for piece in pieces for run in list_runs(fold_words(piece), RUN_LENGTH)}
        template_labels = _TEMPLATE_LABEL.findall(instructions)
        names = "|".join(
            re.escape(name).replace("_", "[ _]") for name in dict.fromkeys([*_LABELS, *labels, *template_labels])
        )
        self._label = re.compile(
            rf"^[^\w\n]*(?:{_ADJECTIVES} )?(?:{names})s?(?: idea)?[\"'*_]*\s*(?:#\s*)?(?:\d+\s*)?(?:\([^)]*\)\s*)?[:\uff1a]",
            re.IGNORECASE | re.MULTILINE,
        )

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        for field in (candidate.text, *candidate.fields.values()):
            if ("{" in field or "[" in field) and (placeholder := _find_placeholder(field)):
                return f"holds {placeholder}, a placeholder"
            if (":" in field or "\uff1a" in field) and (match := self._label.search(field)):
                return f'begins with the label "{match.group().strip()}"'
            if self._runs:
                for run in list_runs(fold_words(field), RUN_LENGTH):
                    if run in self._runs:
                        return f'holds "{run}" of the prompt'
        return None


def _find_placeholder(text: str) -> str | None:
    """Return the first placeholder of a template in a text; None if there is none.

    Each kind is searched once: a pattern would read the rest of the text for every brace that has no end.
    """
    matches = [(match.start(), match.group()) for match in [_NAMED_GAP.search(text)] if match]
    for begin, end in _JINJA_MARKS:
        if (start := text.find(begin)) >= 0 and (last := text.find(end, start + len(begin))) >= 0:
            matches.append((start, text[start : last + len(end)]))
    return min(matches)[1] if matches else None
