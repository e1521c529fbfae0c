"""The terminal of a command: results on standard output, errors and log messages on standard error.

Everything that a command prints passes through here, except progress bars. Control characters are escaped, because
captions, names and messages of others are printed too.

Library code logs and never prints, so a program that imports the packages decides where messages go.
"""

import logging
import sys
from typing import TextIO

from close_transfer.core.control_characters import escape_controls

_PACKAGES = ("close_transfer", "textgen", "studies")


class _StandardError(logging.StreamHandler):
    """A log handler that looks up `sys.stderr` at each message, because a progress bar or a test may replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    def format(self, record: logging.LogRecord) -> str:
        """Return the message as it is printed."""
        return escape_controls(super().format(record))

    @property
    def stream(self) -> TextIO:
        return sys.stderr


def show(text: object = "", *, flush: bool = False) -> None:
    """Print a result of a command."""
    print(escape_controls(str(text)), flush=flush)


def show_error(text: str) -> None:
    """Print an error or a warning of a command on standard error."""
    print(escape_controls(text), file=sys.stderr)


def show_log() -> None:
    """Send the packages' log messages, without time and level, to standard error; further calls change nothing."""
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        if not any(isinstance(handler, _StandardError) for handler in logger.handlers):
            logger.addHandler(_StandardError())
            logger.setLevel(logging.INFO)
            logger.propagate = False  # if a library configures the root logger, messages would appear twice
