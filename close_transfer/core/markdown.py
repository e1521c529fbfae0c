"""Markdown tables, and text that is safe inside them."""

from collections.abc import Iterable, Sequence

_ESCAPES = (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))


def escape_cell(value: object, *, is_markdown: bool = False) -> str:
    """Return a text on one line, with the special characters of Markdown tables and HTML escaped.

    Args:
        value: text of the cell, or a value that is formatted by `str`.
        is_markdown: True if the text is Markdown, such as code in backticks; then only the cell's border is escaped.
    """
    text = " ".join(str(value).split())
    for character, escaped in () if is_markdown else _ESCAPES:
        text = text.replace(character, escaped)
    return text.replace("|", "\\|")


def format_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    alignments: Sequence[str] | None = None,
) -> str:
    """Return a Markdown table without a line break at its end.

    Args:
        header: titles of the columns, in Markdown.
        rows: rows with a cell per column, in Markdown; cells may be empty.
        alignments: "left" or "right" per column; None aligns all columns left.
    """
    rules = ["---:" if alignment == "right" else "---" for alignment in alignments or ["left"] * len(header)]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])
