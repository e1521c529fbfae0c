"""Wrapper for commands: errors that a user can correct end in a message and an exit status, not in a traceback."""

import sys
import threading
from collections.abc import Callable

from close_transfer.core.atomic_files import error_number
from close_transfer.core.console import show_error, show_log
from close_transfer.core.errors import UserError
from close_transfer.core.schema import shorten
from close_transfer.core.signals import (
    INTERRUPTED_STATUS,
    TERMINATED_STATUS,
    Terminated,
    describe_stop,
    end_when_terminated,
)

USER_ERROR_STATUS = 2


def run_guarded(run: Callable[[], int | None]) -> None:
    """Call `run`, and exit if it returns a status other than 0, because a sweep (-m) has further jobs.

    An error that a user can correct becomes a message on standard error and exit status 2.
    """
    show_log()
    end_when_terminated()
    threading.excepthook = _report_thread_failure
    try:
        if status := run():
            sys.exit(status)
    except UserError as error:
        show_error(f"error: {error}")
        sys.exit(USER_ERROR_STATUS)
    except OSError as error:
        if error.strerror is None:  # raised by a library with a text alone: a bug, so show the traceback
            raise
        where = f"{shorten(error.filename)}: " if error.filename else ""
        show_error(f"error: {where}{error.strerror}")
        sys.exit(USER_ERROR_STATUS)
    except KeyboardInterrupt:
        show_error(describe_stop("SIGINT"))
        sys.exit(INTERRUPTED_STATUS)
    except Terminated as signal:
        show_error(describe_stop(str(signal)))
        sys.exit(TERMINATED_STATUS)


def _report_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Hide write errors of background threads, because the main thread meets and reports them too."""
    # TensorBoard writes its event file in such a thread.
    if failure.exc_value is None or error_number(failure.exc_value) is None:
        threading.__excepthook__(failure)
