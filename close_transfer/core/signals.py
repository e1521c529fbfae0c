"""Stop signals, and the exit statuses that report them to a scheduler."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

# Schedulers such as Slurm can send SIGUSR1 some time before they end a job.
_TERMINATING = (signal.SIGTERM, signal.SIGUSR1)
# 128 + number: a shell's exit status of a command that a signal ended.
INTERRUPTED_STATUS, TERMINATED_STATUS = 128 + signal.SIGINT, 128 + signal.SIGTERM


def describe_stop(name: str) -> str:
    """Return the message of a command that a signal of this name ended."""
    if name == "SIGINT":
        return "interrupted"
    return f"stopped by {name}. Run the same command again to continue from what is complete"


@contextmanager
def exiting_at_once() -> Iterator[None]:
    """End the process at a signal within the block, with a line, but without cleaning up: for imports alone.

    An exception would come up within the library that is being imported: its traceback would follow, or the library
    would swallow it.
    """

    def handle(number: int, frame: FrameType | None) -> NoReturn:
        with suppress(OSError):
            os.write(2, f"{describe_stop(signal.Signals(number).name)}\n".encode())
        exit_now(number)

    with _handling(handle):
        yield


def exit_now(number: int, frame: FrameType | None = None) -> NoReturn:
    """End the process with the status of a signal, without cleaning up."""
    with suppress(Exception):  # the signal may have come while it was written
        sys.stdout.flush()
    os._exit(INTERRUPTED_STATUS if number == signal.SIGINT else TERMINATED_STATUS)


def exit_at_signals() -> None:
    """Make each further signal end the process at once: for the time after a command, which waits for threads."""
    _set_handlers(exit_now)


def ignore_signals() -> None:
    """Ignore the signals: for the last moments of Python, in which one would find no handler and change the status."""
    _set_handlers(signal.SIG_IGN)


def _set_handlers(handler: Any) -> None:
    with suppress(ValueError):  # not the main thread
        for number in (signal.SIGINT, *_TERMINATING):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell starts its background jobs
                signal.signal(number, handler)


@contextmanager
def _handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle Ctrl-C and the terminating signals until the block ends; do nothing in other threads than the main one."""
    previous: dict[int, Any] = {}
    try:
        with suppress(ValueError):  # not the main thread: only the main thread may set handlers
            for number in (signal.SIGINT, *_TERMINATING):
                previous[number] = signal.signal(number, handle)
        yield
    finally:
        for handled, handler in previous.items():
            signal.signal(handled, handler)


@dataclass
class StopRequest:
    """Request to stop, set by Ctrl-C, SIGTERM or SIGUSR1. A second Ctrl-C interrupts at once.

    Attributes:
        asked: True once a signal has come.
        exit_status: exit status for a command that this signal stopped.
    """

    asked: bool = False
    exit_status: int = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals until the block ends."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.asked and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.asked = True
            self.exit_status = INTERRUPTED_STATUS if number == signal.SIGINT else TERMINATED_STATUS

        with _handling(handle):
            yield


class Terminated(BaseException):
    """Exit by SIGTERM or SIGUSR1 while there is nothing to save."""

    # A BaseException, as KeyboardInterrupt is: `except Exception` must not stop the exit.


def end_when_terminated() -> None:
    """Make SIGTERM and SIGUSR1 raise `Terminated`, so that temporary files are removed before the exit."""

    def handle(number: int, frame: FrameType | None) -> NoReturn:
        for terminating in _TERMINATING:
            signal.signal(terminating, signal.SIG_IGN)  # schedulers send several; a second must not stop the clean-up
        raise Terminated(signal.Signals(number).name)

    with suppress(ValueError):  # not the main thread
        for number in _TERMINATING:
            signal.signal(number, handle)
