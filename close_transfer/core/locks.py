"""Locks that keep two processes from writing the same files.

The operating system holds the locks, so a lock ends with its process, even if that is killed. A lock file that a killed
process left behind is not locked, and the next process takes it over.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from close_transfer.core.atomic_files import report_write_errors
from close_transfer.core.errors import UserError

# Errors of file systems without locks, such as some network mounts.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF}


def locate_lock(path: Path) -> Path:
    """Return the path of the lock file that guards a folder (inside it) or a file (next to it)."""
    return path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")


@contextmanager
def hold_lock(lock_file: Path, refusal: UserError) -> Iterator[None]:
    """Hold a lock within the block, and remove its file at the end.

    Nothing is locked if the file system has no locks.

    Args:
        lock_file: path of the lock file.
        refusal: error to raise, without waiting, if another process holds the lock.

    Raises:
        UserError: `refusal`.
        WriteError: if the lock file cannot be written.
    """
    # A soft lock would outlive a process that is killed. A lock belongs to the process, not to one of its threads.
    lock = FileLock(lock_file, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        # Acquired within the outer `try`, because a signal can raise `Terminated` as soon as the file exists.
        with report_write_errors(lock_file):
            try:
                lock.acquire()
            except Timeout:
                raise refusal from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        yield
    finally:
        # Removed while it is still locked, because after the release another process may hold the file. A process that
        # opened it before sees that the file is gone, and is refused.
        if lock.is_locked:
            lock_file.unlink(missing_ok=True)
        lock.release()
