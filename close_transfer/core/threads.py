"""Threads of a computation: cores for them, and how they wait, chosen before the libraries that compute are loaded."""

import os

# Variables by which a user chooses how threads wait: OpenMP's, and those of its implementations by GNU and by LLVM and Intel.
_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
# A thread sleeps, with GNU's OpenMP after a short spin, which is enough for most waits if every thread has a core.
_WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "4000"}


def let_waiting_threads_sleep() -> None:
    """Make OpenMP's threads sleep while they wait for each other, unless the user chose how they wait.

    By default they spin for milliseconds, because they expect a core each; with GNU's OpenMP 300,000 times. If another process takes one of the cores,
    two threads share the other, and one spins through its time slice while the other has work. A step of a small model
    has thousands of such moments. Asleep, a thread leaves its core to the one that has work. The way of waiting
    changes no result. OpenMP reads the variable when PyTorch is loaded, so later calls have no effect.
    """
    if not any(name in os.environ for name in _CHOICES):
        os.environ.update(_WAITING)


def count_cores() -> int:
    """Return the number of cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # on Linux, if a job scheduler left some cores to others
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
