"""Locks that keep two processes from writing the same files.

Locks are the operating system's, so one ends with the process that holds it, however that ends. A lock file
that a killed process left behind is not locked, and the next process takes it over.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from close_transfer.core.atomic_files import report_write_errors
from close_transfer.core.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF}


def locate_lock(path: Path) -> Path:
    """Return the path of the lock file that guards a folder (inside it) or a file (next to it)."""
    return path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")


@contextmanager
def hold_lock(lock_file: Path, refusal: UserError) -> Iterator[None]:
    """Hold a lock, and remove its file at the end; raise `refusal` at once if another process holds it.

    Nothing is locked if the file system has no locks.

    Raises:
        UserError: `refusal`.
        WriteError: if the lock file cannot be written.
    """
    # A soft lock would outlive a process that is killed. A lock belongs to the process, not to one of its threads.
    lock = FileLock(lock_file, timeout=0, thread_local=False, fallback_to_soft=False)
    with report_write_errors(lock_file):
        try:
            lock.acquire()
        except Timeout:
            raise refusal from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    try:
        yield
    finally:
        # Removed while it is still locked. A process that opened it meanwhile finds its lock worthless and is refused.
        if lock.is_locked:
            lock_file.unlink(missing_ok=True)
        lock.release()
