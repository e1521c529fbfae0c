"""Child processes that end with their parent, even if it is killed.

A killed process cannot end its children. They would continue, and hold the locks of the folders that they write.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

from close_transfer.core.threads import count_cores

_LEFT_TO_PARENT = (signal.SIGINT, signal.SIGUSR1)
_PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>

# Linux itself kills the program when its parent ends. The request survives `exec`. A parent that ended before the
# request is seen by the changed parent id. Other systems have no such request, and there the program ends by itself.
_RUN_WITH_PARENT = f"""
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def open_pool(num_workers: int | None = None) -> ProcessPoolExecutor:
    """Open a pool of new Python processes, which end with this one; None for one per core that it may use."""
    return ProcessPoolExecutor(
        num_workers or count_cores(), mp_context=get_context("spawn"), initializer=end_with_parent
    )


def open_background_pool(num_workers: int) -> ProcessPoolExecutor:
    """Open a pool as `open_pool`, whose processes leave Ctrl-C and SIGUSR1, which reach them too, to this one."""
    pool = open_pool(num_workers)
    # A process inherits the blocked signals, which covers its imports too.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
    try:
        for _ in range(num_workers):  # a call starts a process if none is idle
            pool.submit(os.getpid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return pool


def end_with_parent() -> None:
    """Make this process of `multiprocessing` end when its parent has ended, at any point of its work."""
    parent = parent_process()
    assert parent is not None, "only for a process that multiprocessing started"

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)  # as if it was killed too: an exception would end this thread only

    threading.Thread(target=watch, name="parent", daemon=True).start()


def run_with_parent(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a program that ends with this process, and return its status and output.

    Args:
        command: the program and its arguments.
        folder: working folder of the program.
    """
    starter = [sys.executable, "-I", "-S", "-c", _RUN_WITH_PARENT, str(os.getpid())]
    return subprocess.run([*starter, *command], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True)
