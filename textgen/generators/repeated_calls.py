"""Calls to a provider that cost nothing, and are repeated after faults that may pass."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import openai

from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from textgen.generators.async_client import Limits
from textgen.generators.openai_api import Access
from textgen.generators.openai_connection import classify_error

T = TypeVar("T")

_MAX_PAUSE = 60.0  # seconds between two attempts of a call
_CHECK_SECONDS = 0.2  # between two checks for a signal while waiting


class Stopped(Exception):
    """Stop by a signal before a call was tried again."""


@dataclass(frozen=True)
class RepeatedCalls:
    """Calls to one server, with pauses that a signal ends.

    Attributes:
        access: server and key.
        limits: number of attempts, and pauses.
        stop: request to stop by a signal.
    """

    access: Access
    limits: Limits
    stop: StopRequest

    def repeat(self, call: Callable[[], T]) -> T:
        """Return the result of a call that costs nothing, and repeat the call after faults that may pass.

        Raises:
            UserError: if the provider refuses the call, or cannot be reached.
            Stopped: if a signal comes before another attempt.
        """
        for attempt in range(self.limits.max_attempts):
            wait = min(_MAX_PAUSE, self.limits.initial_backoff * 2**attempt)
            try:
                return call()
            except openai.APIStatusError as error:
                fault = classify_error(error, self.access, with_schema=False, is_schema_optional=False)
                last_message = fault.detail
                if fault.fatal or not fault.retry:
                    break
                wait = fault.retry_after or wait
            except (openai.APIConnectionError, ValueError) as error:
                last_message = str(error)
            self.pause(wait)
            if self.stop.asked:
                raise Stopped
        raise UserError(
            f"{self.access.server}: {self.access.mask_key(last_message)}. All answers are kept. Run the same command to continue"
        )

    def pause(self, seconds: float) -> None:
        """Sleep for this time, or until a signal comes."""
        end = time.monotonic() + seconds
        while not self.stop.asked and (remaining := end - time.monotonic()) > 0:
            time.sleep(min(remaining, _CHECK_SECONDS))
