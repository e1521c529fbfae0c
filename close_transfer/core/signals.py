"""Signals that ask a command to stop, and the exit statuses by which a scheduler knows."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

# SIGUSR1 is what schedulers can be told to send a while before the end.
_TERMINATING = (signal.SIGTERM, signal.SIGUSR1)
INTERRUPTED_STATUS, TERMINATED_STATUS = 128 + signal.SIGINT, 128 + signal.SIGTERM


@dataclass
class StopRequest:
    """Set by Ctrl-C, SIGTERM or SIGUSR1; a second Ctrl-C interrupts at once.

    Attributes:
        asked: whether to stop.
        exit_status: what the command should end with then.
    """

    asked: bool = False
    exit_status: int = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals until the block ends."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.asked and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.asked = True
            self.exit_status = INTERRUPTED_STATUS if number == signal.SIGINT else TERMINATED_STATUS

        try:
            previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, *_TERMINATING)}
        except ValueError:  # not the main thread: whoever started it decides about signals
            previous = {}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class Terminated(BaseException):
    """SIGTERM or SIGUSR1 came where there is nothing to save."""


def end_when_terminated() -> None:
    """From now on SIGTERM and SIGUSR1 raise `Terminated`, so that temporary files are removed on the way out."""

    def handle(number: int, frame: FrameType | None) -> NoReturn:
        for terminating in _TERMINATING:
            signal.signal(terminating, signal.SIG_IGN)  # schedulers send several; the way out is short
        raise Terminated(signal.Signals(number).name)

    with suppress(ValueError):  # not the main thread
        for number in _TERMINATING:
            signal.signal(number, handle)
