"""Links of a run that was copied with links followed (`cp -rL`, some archives and cloud drives): they are folders then."""

import shutil
from pathlib import Path

from close_transfer.core.atomic_files import check_replaceable_link
from close_transfer.core.checksums import CHECKSUMS


def remove_copied_links(run: Path) -> None:
    """Remove `best` and `last` if they are copies of checkpoints, so that they can be links again.

    Args:
        run: folder of the run, in which no other process writes.

    Raises:
        UserError: if one of them is a folder that no checkpoint equals.
    """
    checkpoints = run / "checkpoints"
    known = {path.read_bytes() for path in checkpoints.glob(f"step-*/{CHECKSUMS}")}
    for link in (run / "best", run / "last"):
        copied = link / CHECKSUMS
        if not link.is_symlink() and copied.is_file() and copied.read_bytes() in known:
            # Renamed first, because a kill may leave half of the folder. The name is removed with incomplete checkpoints.
            shutil.rmtree(link.rename(checkpoints / f".{link.name}.tmp"))
        check_replaceable_link(link)
