"""Backup of earlier output before a new one replaces it."""

from collections.abc import Sequence
from pathlib import Path

from close_transfer.core.atomic_files import report_write_errors, sync


def archive_previous(paths: Sequence[Path], into: Path) -> Path:
    """Move those of the files that exist into a new folder: `into-1`, or the next free number.

    Args:
        paths: files to move. The last one marks a backup as complete, so it is moved last.
        into: path of the backup folder without its number.

    Returns:
        the folder that now holds the files.

    Raises:
        WriteError: if they cannot be moved.
    """
    number = 1
    # A folder without the last file was left by a kill: this call moves the rest into the same folder.
    while (folder := into.with_name(f"{into.name}-{number}")).joinpath(paths[-1].name).exists():
        number += 1
    with report_write_errors(folder):
        folder.mkdir(exist_ok=True)
        for path in paths:
            if path.exists():
                path.replace(folder / path.name)
        sync(folder)
    return folder
