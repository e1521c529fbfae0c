"""Numbers of lines of the plan and of the journal, each in a file next to it.

Every line of these files shows its own damage, but the lines do not show that the last ones are missing. The number is
written after the lines, so a file may have more lines than its number says, and never fewer.
"""

from pathlib import Path

from close_transfer.core.checksums import read_checked_fields, write_checked_json
from close_transfer.core.errors import UserError


def locate_length(path: Path) -> Path:
    """Return the path of the file with the number of lines of another file."""
    return path.with_name(f"{path.name}.length")


def write_length(path: Path, num_lines: int) -> None:
    """Write the number of lines of a file next to it.

    Raises:
        WriteError: if it cannot be written.
    """
    write_checked_json(locate_length(path), {"num_lines": num_lines})


def read_length(path: Path, remedy: str) -> int:
    """Return the number of lines that a file has at least; 0 if it is not known.

    Args:
        path: the file whose lines are counted.
        remedy: what makes a damaged number again, for the message.

    Raises:
        UserError: if the file with the number is damaged.
    """
    length = locate_length(path)
    try:
        return int(read_checked_fields(length, {"num_lines": int})["num_lines"]) if length.is_file() else 0
    except UserError:
        raise UserError(
            f"{length}: is damaged (it counts the lines of {path.name}). Check that {path.name} is there, and {remedy}"
        ) from None
