"""Start of a command from its script. It imports little, so that a signal finds a handler while libraries load."""

from importlib import import_module

from close_transfer.core.signals import exiting_at_once


def start(module: str, *arguments: str) -> None:
    """Import a module and call its function `run`; Ctrl-C during the import ends in one line and status 130.

    Args:
        module: dotted name of the module.
        arguments: arguments of `run`.
    """
    with exiting_at_once():
        run = import_module(module).run
    run(*arguments)
