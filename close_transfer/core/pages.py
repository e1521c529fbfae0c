"""Pages that people open: HTML and Markdown files with texts of others in them."""

from pathlib import Path

from close_transfer.core.atomic_files import write_text
from close_transfer.core.control_characters import escape_controls


def write_page(path: Path, page: str) -> None:
    """Write a page atomically, with the control characters in its texts escaped.

    Raises:
        WriteError: if it cannot be written.
    """
    write_text(path, escape_controls(page))
