"""Start of a command from its script. It imports little, so that a signal finds a handler while libraries load."""

import atexit
import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from close_transfer.core.signals import Terminated, exit_at_signals, exit_now, exiting_at_once, ignore_signals
from close_transfer.core.threads import let_waiting_threads_sleep


@contextmanager
def loading_libraries() -> Iterator[None]:
    """End at once at a signal within the block, and do not collect garbage in it: for imports alone.

    What was loaded is left out of later collections too. A million objects of PyTorch and transformers live as long as
    the process, and looking through them again and again took a sixth of the time to the first training step. A block
    that loads nothing leaves out nothing: in a later job of a sweep, that would keep the garbage of the jobs before it.

    Threads that wait are made to sleep too, because OpenMP reads how they wait when PyTorch loads.
    """
    let_waiting_threads_sleep()
    was_enabled, num_loaded = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        with exiting_at_once():
            yield
    finally:
        if len(sys.modules) > num_loaded:
            gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def keeping_status() -> Iterator[None]:
    """Run a command within the block, and keep status 130 if Ctrl-C comes again, also during the exit of Python.

    Python alone would end by the signal itself, with status -2 or a traceback.
    """
    atexit.register(ignore_signals)  # registered first, so it is called last: libraries may take a second to unload
    try:
        try:
            yield
        finally:
            exit_at_signals()
    except (KeyboardInterrupt, Terminated) as stop:  # it came while the exit by an earlier one was prepared
        exit_now(signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM)


def start(module: str, *arguments: str) -> None:
    """Import a module and call its function `run`; Ctrl-C ends in one line and status 130, however often it comes.

    Args:
        module: dotted name of the module.
        arguments: arguments of `run`.
    """
    with keeping_status():
        with loading_libraries():
            run = import_module(module).run
        run(*arguments)
