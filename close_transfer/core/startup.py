"""Start of a command from its script. It imports little, so that a signal finds a handler while libraries load."""

import atexit
import signal
from importlib import import_module

from close_transfer.core.signals import Terminated, exit_at_signals, exit_now, exiting_at_once, ignore_signals


def start(module: str, *arguments: str) -> None:
    """Import a module and call its function `run`; Ctrl-C ends in one line and status 130, however often it comes.

    Python alone would end by the signal itself, with status -2 or a traceback, if Ctrl-C came again during its exit.

    Args:
        module: dotted name of the module.
        arguments: arguments of `run`.
    """
    atexit.register(ignore_signals)  # registered first, so it is called last: libraries may take a second to unload
    with exiting_at_once():
        run = import_module(module).run
    try:
        try:
            run(*arguments)
        finally:
            exit_at_signals()
    except (KeyboardInterrupt, Terminated) as stop:  # it came while the exit by an earlier one was prepared
        exit_now(signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM)
