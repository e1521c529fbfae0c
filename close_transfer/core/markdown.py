"""Markdown tables, and text that is safe inside them."""

from collections.abc import Iterable, Sequence

_ESCAPES = (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))


def escape_cell(value: object, *, is_markdown: bool = False) -> str:
    """Return a text on one line, with nothing in it that a reader of Markdown or HTML obeys.

    Args:
        value: the text.
        is_markdown: the text is Markdown, such as code in backticks: it is only kept inside its cell.
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
    """Return a Markdown table without a line break at its end; cells are Markdown, and may be empty.

    Args:
        header: a title per column.
        rows: a cell per column.
        alignments: "left" or "right" per column; None aligns all columns left.
    """
    rules = ["---:" if alignment == "right" else "---" for alignment in alignments or ["left"] * len(header)]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])
