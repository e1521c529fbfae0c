"""Takes out texts that repeat the prompt, and texts with markup in them."""

import re
from collections.abc import Sequence

from textgen.corpus.candidate import Candidate
from textgen.filters.words import fold_words, list_runs

RUN_LENGTH = 5  # words
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|\{\w+\}|\[[A-Za-z][\w ]*\]", re.DOTALL)
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
# What the reason calls it, and how it is written. Control characters other than tabs and line ends are listed by code.
_MARKUP = {
    "a code fence": r"```|~~~",
    "a tag": r"</?[A-Za-z][^<>]*>|<\||\|>|<!--|\[/?INST\]",
    "a web address": r"\bhttps?:|\bwww\.\w",
    "a brace": r"[{}]",
    "bold print": r"\*\*|__\w",
    "emphasis": r"(?<![\w*])\*\w(?:[^*\n]*\w)?\*(?![\w*])|(?<!\w)_[A-Za-z][^_\n]*_(?!\w)",
    "an open quotation mark": r"^\s*[\"\u201c][^\"\u201c\u201d]*$",
    "a heading": r"^\s*#+\s+(?!\d)",
    "a bullet": r"^\s*[-*\u2022\u2023\u2013\u2014]\s",
    "a number of a list": r"^\s*\(?\d{1,3}[.)]\s",
    "a link": r"\]\(",
    "a hashtag": r"(?<!\w)#[A-Za-z]\w*",
    "an account": r"(?<!\w)@\w+",
    "an escaped line end": r"\\n",
    "a control character": r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]",
    "a replacement character": "\ufffd",
}  # fmt: skip


class PromptEcho:
    """No run of five words of the template, no placeholder of it, and no label in front."""

    name = "leaked prompt"

    def __init__(self, instructions: str, labels: Sequence[str]) -> None:
        """Reads the template.

        Args:
            instructions: its own words; runs do not go across its placeholders.
            labels: names that a field may be labelled with, besides "keywords", "caption" and the like, and besides
                what the template's own lines begin with before a colon.
        """
        pieces = _PLACEHOLDER.split(instructions)
        self._runs = {run for piece in pieces for run in list_runs(fold_words(piece), RUN_LENGTH)}
        template_labels = _TEMPLATE_LABEL.findall(instructions)
        names = "|".join(
            re.escape(name).replace("_", "[ _]") for name in dict.fromkeys([*_LABELS, *labels, *template_labels])
        )
        self._label = re.compile(
            rf"^\W*(?:{_ADJECTIVES} )?(?:{names})s?(?: idea)?[\"'*_]*\s*#?\d*\s*(?:\([^)]*\)\s*)?[:\uff1a]",
            re.IGNORECASE | re.MULTILINE,
        )

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        for field in (candidate.text, *candidate.fields.values()):
            if ("{" in field or "[" in field) and (match := _PLACEHOLDER.search(field)):
                return f"holds {match.group()}, a placeholder"
            if (":" in field or "\uff1a" in field) and (match := self._label.search(field)):
                return f'begins with the label "{match.group().strip()}"'
            if self._runs:
                for run in list_runs(fold_words(field), RUN_LENGTH):
                    if run in self._runs:
                        return f'holds "{run}" of the prompt'
        return None


class Markup:
    """No code fences, tags, addresses, hashtags, braces, markdown, control and replacement characters."""

    name = "markup"

    def __init__(self) -> None:
        groups = "|".join(f"(?P<m{index}>{pattern})" for index, pattern in enumerate(_MARKUP.values()))
        self._pattern = re.compile(groups, re.MULTILINE)
        self._names = list(_MARKUP)

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        for field in (candidate.text, *candidate.fields.values()):
            if match := self._pattern.search(field):
                assert match.lastgroup
                return f"holds {self._names[int(match.lastgroup[1:])]}: {match.group()!r}"
        return None
