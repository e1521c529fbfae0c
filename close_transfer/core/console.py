"""Console of a command: results on standard output, errors and log messages of libraries on standard error.

Library code logs and never prints. A program that imports the packages decides for itself where that goes.
"""

import logging
import sys
from typing import TextIO

_PACKAGES = ("close_transfer", "textgen", "studies")


class _StandardError(logging.StreamHandler):
    """A handler of the current `sys.stderr`, which a progress bar or a test may replace."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


def show(text: object = "", *, flush: bool = False) -> None:
    """Print a result of a command."""
    print(text, flush=flush)


def show_error(text: str) -> None:
    """Print on standard error why a command ended."""
    print(text, file=sys.stderr)


def show_log() -> None:
    """Show on standard error what the packages log, messages only; further calls change nothing."""
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        if not any(isinstance(handler, _StandardError) for handler in logger.handlers):
            logger.addHandler(_StandardError())
            logger.setLevel(logging.INFO)
            logger.propagate = False  # a library that configures the root logger would show it twice
