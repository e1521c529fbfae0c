"""Keeps what an earlier command wrote when another output takes its place."""

from collections.abc import Sequence
from pathlib import Path

from close_transfer.core.atomic_files import report_write_errors, sync


def archive_previous(paths: Sequence[Path], into: Path) -> Path:
    """Moves the files that are there into a folder of their own: `into-1`, or the next number.

    The last of the paths says that they belong together. It goes last, so that after a kill the next
    call moves the rest into the same folder.

    Returns:
        The folder.

    Raises:
        WriteError: if they cannot be moved.
    """
    number = 1
    while (folder := into.with_name(f"{into.name}-{number}")).joinpath(paths[-1].name).exists():
        number += 1
    with report_write_errors(folder):
        folder.mkdir(exist_ok=True)
        for path in paths:
            if path.exists():
                path.replace(folder / path.name)
        sync(folder)
    return folder
