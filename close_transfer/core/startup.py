"""Start of a command from its script. It imports little, so that a signal finds a handler while libraries load."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from close_transfer.core.signals import exiting_at_once


@contextmanager
def loading_libraries() -> Iterator[None]:
    """End at once at a signal within the block, and do not collect garbage in it: for imports alone.

    What was loaded is left out of later collections too. A million objects of PyTorch and transformers live as long as
    the process, and looking through them again and again took a sixth of the time to the first training step.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with exiting_at_once():
            yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def start(module: str, *arguments: str) -> None:
    """Import a module and call its function `run`; Ctrl-C during the import ends in one line and status 130.

    Args:
        module: dotted name of the module.
        arguments: arguments of `run`.
    """
    with loading_libraries():
        run = import_module(module).run
    run(*arguments)
