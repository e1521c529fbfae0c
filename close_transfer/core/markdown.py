"""Markdown that shows texts of others as they are: escapes, code, and tables.

`Markdown` marks what is Markdown already. Everything else is text, and is escaped.
"""

import re
from collections.abc import Iterable, Sequence

from close_transfer.core.control_characters import escape_controls

# Escaped by a backslash wherever they occur: they may begin emphasis, code, links, images, HTML, formulas or a table's cell.
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
# At the start of a line: a heading, a list, a rule.
_BLOCK_START = re.compile(r"(?:#{1,6}|[-+])(?:\s|$)|[-=]{2,}$|(?:- ?){3,}$")
_NUMBERED = re.compile(r"^\d{1,9}(?=[.)](?:\s|$))")
# Addresses become links on some sites without any syntax.
_ADDRESS = re.compile(r"\b(https?|ftp|mailto|xmpp):|\b(www)\.|(?<=[\w.+-])(@)(?=\w)", re.IGNORECASE)
_PLAIN_CODE = re.compile(r"[^`|\\]*")


class Markdown(str):
    """Text that is Markdown already, so it is not escaped again."""

    __slots__ = ()


def escape_text(value: object) -> Markdown:
    """Return a text as Markdown that shows it on one line, with nothing in it that Markdown or HTML acts on.

    Args:
        value: text, or a value that is formatted by `str`; Markdown is returned as it is.
    """
    if isinstance(value, Markdown):
        return value
    text = " ".join(str(value).split())
    text = _SPECIAL.sub(lambda match: f"\\{match[0]}", text)
    for character, entity in _ENTITIES:
        text = text.replace(character, entity)
    text = _ADDRESS.sub(_split_address, text)
    if number := _NUMBERED.match(text):
        text = f"{number[0]}\\{text[number.end() :]}"
    elif _BLOCK_START.match(text):
        text = f"\\{text}"
    return Markdown(text)


def _split_address(match: re.Match[str]) -> str:
    scheme, host, at = match.groups()
    return "&#64;" if at else f"{scheme}&#58;" if scheme else f"{host}&#46;"


def format_code(text: str) -> Markdown:
    """Return a text as inline code on one line, also within a table."""
    line = escape_controls(" ".join(text.split()))
    if _PLAIN_CODE.fullmatch(line):
        return Markdown(f"`{line}`" if line else "")
    # Backticks could not hold it, or a table would split it.
    characters = (c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in line)
    return Markdown(f"<code>{''.join(characters)}</code>")


def format_code_block(text: str, language: str = "") -> Markdown:
    """Return lines of code as a block; its fence is longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markdown(f"{fence}{language}\n{text}\n{fence}")


def format_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    alignments: Sequence[str] | None = None,
) -> str:
    """Return a Markdown table without a line break at its end.

    Args:
        header: titles of the columns; texts are escaped, and Markdown is not.
        rows: rows with a cell per column, as the titles; cells may be empty.
        alignments: "left" or "right" per column; None aligns all columns left.
    """
    rules = ["---:" if alignment == "right" else "---" for alignment in alignments or ["left"] * len(header)]
    lines = [f"| {' | '.join(map(escape_text, cells))} |" for cells in (header, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])
