"""Folders named by the time, each for one job, although several jobs may begin in the same second."""

from datetime import datetime
from pathlib import Path

from close_transfer.core.atomic_files import report_write_errors


def name_by_time(folder: Path) -> Path:
    """Return the folder of a job that begins now, by date and second."""
    return folder / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def create_new_folder(folder: Path) -> Path:
    """Create a folder that did not exist, and return it: `folder`, or else `folder_2`, `folder_3` and so on.

    Raises:
        WriteError: if it cannot be created.
    """
    number, created = 1, folder
    with report_write_errors(folder):
        # Alone, because a parent that is a link to nothing exists too, and no number would help.
        folder.parent.mkdir(parents=True, exist_ok=True)
        while not _create(created):
            number += 1
            created = folder.with_name(f"{folder.name}_{number}")
    return created


def _create(folder: Path) -> bool:
    """Create a folder; return False if it exists, because another job may have created it at the same moment."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
