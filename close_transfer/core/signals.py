"""Stop signals, and the exit statuses that report them to a scheduler."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

# Schedulers such as Slurm can send SIGUSR1 some time before they end a job.
_TERMINATING = (signal.SIGTERM, signal.SIGUSR1)
# 128 + number: a shell's exit status of a command that a signal ended.
INTERRUPTED_STATUS, TERMINATED_STATUS = 128 + signal.SIGINT, 128 + signal.SIGTERM


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

        try:
            previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, *_TERMINATING)}
        except ValueError:  # not the main thread: only the main thread may set handlers
            previous = {}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


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
