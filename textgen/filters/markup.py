"""Filter of texts with markup."""

import re
from collections.abc import Sequence

from textgen.corpus.candidate import Candidate

# Name in the reason -> pattern. Control characters are listed by code; tabs and line ends are allowed.
_MARKUP = {
    "a code fence": r"```|~~~",
    "a tag": r"</?[A-Za-z][^<>]*>|<\||\|>|<!--|\[/?INST\]",
    "a web address": r"\bhttps?:|\bwww\.\w",
    "a brace": r"[{}]",
    "bold print": r"\*\*|__\w",
    "emphasis": r"(?<![\w*])\*\w(?:[^*\n]*\w)?\*(?![\w*])|(?<!\w)_[A-Za-z][^_\n]*_(?!\w)",
    "an open quotation mark": r"^[^\S\n]*[\"\u201c][^\"\u201c\u201d]*$",
    "a heading": r"^[^\S\n]*#+\s+(?!\d)",
    "a bullet": r"^[^\S\n]*[-*\u2022\u2023\u2013\u2014]\s",
    "a number of a list": r"^[^\S\n]*\(?\d{1,3}[.)]\s",
    "a link": r"\]\(",
    "a hashtag": r"(?<!\w)#[A-Za-z]\w*",
    "an account": r"(?<!\w)@\w+",
    "an escaped line end": r"\\n",
    "a control character": r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]",
    "a replacement character": "\ufffd",
}  # fmt: skip


class Markup:
    """Stage that removes texts with code fences, tags, web addresses, hashtags, braces, Markdown or control characters."""

    name = "markup"

    def __init__(self) -> None:
        groups = "|".join(f"(?P<m{index}>{pattern})" for index, pattern in enumerate(_MARKUP.values()))
        self._pattern = re.compile(groups, re.MULTILINE)
        self._names = list(_MARKUP)

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate) for candidate in candidates]

    def _find_reason(self, candidate: Candidate) -> str | None:
        for field in (candidate.text, *candidate.fields.values()):
            if match := self._pattern.search(field):
                assert match.lastgroup
                return f"holds {self._names[int(match.lastgroup[1:])]}: {match.group()!r}"
        return None
