"""The terminal of a command: results on standard output, errors and log messages on standard error.

Everything that a command prints passes through here, except progress bars. Control characters are escaped, because
captions, names and messages of others are printed too. Libraries log names of others as well, so their messages and warnings
are escaped when they are made.

Library code logs and never prints, so a program that imports the packages decides where messages go.
"""

import logging
import re
import sys
import warnings
from typing import Any, TextIO

from close_transfer.core.control_characters import escape_controls

_PACKAGES = ("close_transfer", "textgen", "studies")
_format_as_python = warnings.formatwarning
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class _EscapedRecord(logging.LogRecord):
    """A log message of any library, with its control characters escaped, and without the colours of other libraries."""

    def getMessage(self) -> str:  # noqa: N802 (the name in logging)
        """Return the message."""
        text = super().getMessage()
        if self.name.partition(".")[0] not in _PACKAGES:
            text = _COLOUR.sub("", text).replace("\t", "    ")
        return escape_controls(text)


def _format_warning(*args: Any, **settings: Any) -> str:
    return escape_controls(_format_as_python(*args, **settings))


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
    """Send the packages' log messages, without time and level, to standard error; further calls change nothing.

    Messages and warnings of all libraries are escaped from then on.
    """
    logging.setLogRecordFactory(_EscapedRecord)
    warnings.formatwarning = _format_warning
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        if not any(isinstance(handler, _StandardError) for handler in logger.handlers):
            logger.addHandler(_StandardError())
            logger.setLevel(logging.INFO)
            logger.propagate = False  # if a library configures the root logger, messages would appear twice
