"""Control characters in texts of others, which could act on a terminal or reorder what a reader sees."""

import re

# All control characters but the line break: C0, DEL, C1 (among them ESC and carriage return), the line and paragraph
# separators, overrides and isolates of the text's direction, invisible operators, tags, and lone surrogates, which no
# file can hold. Joiners, marks of direction and unusual spaces stay: Persian, Hindi, Hebrew and emoji need them.
_ACTING = re.compile(
    "[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f\\ud800-\\udfff]"
)


def escape_controls(text: str) -> str:
    r"""Return the text with each control character but the line break as its escape, such as ``\x1b``."""
    return _ACTING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
