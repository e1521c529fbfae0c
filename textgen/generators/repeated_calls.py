"""Calls to a provider that cost nothing, and are repeated after faults that may pass."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import openai

from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from textgen.generators.bounded_http import UnreadableBody
from textgen.generators.limits import Limits
from textgen.generators.openai_api import Access
from textgen.generators.openai_connection import classify_error
from textgen.generators.server_words import extract_words

T = TypeVar("T")

_MAX_PAUSE = 60.0  # seconds between two attempts of a call
_CHECK_SECONDS = 0.2  # between two checks for a signal while waiting
_GRACE_SECONDS = 2.0  # for a call that is under way when a signal comes
# Times request_timeout that a call may take. A submission may take as long in connecting, sending and waiting each: one that
# was given up before it was sent could still be sent, next to another. Files may have hundreds of megabytes.
SUBMISSION, TRANSFER = 3, 30


class UnexpectedAnswer(ValueError):
    """Answer that is not what a call asks for.

    Attributes:
        content: text of the answer; the key is not masked in it yet.
    """

    def __init__(self, problem: str, content: str) -> None:
        """Describe the answer by its problem, without words of the server."""
        super().__init__(problem)
        self.content = content


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

    def repeat(self, call: Callable[[], T], times: int = 1) -> T:
        """Return the result of a call that costs nothing, and repeat the call after faults that may pass.

        Args:
            call: the call.
            times: times `request_timeout` that one attempt may take.

        Raises:
            UserError: if the provider refuses the call, or cannot be reached.
            Stopped: if a signal comes and the call does not end soon.
        """
        for attempt in range(self.limits.max_attempts):
            wait = min(_MAX_PAUSE, self.limits.initial_backoff * 2**attempt)
            try:
                return self._attempt(call, times * self.limits.request_timeout)
            except openai.APIStatusError as error:
                fault = classify_error(error, self.access, with_schema=False, is_schema_optional=False)
                if note := self.limits.check_wait(fault):
                    show(f"{self.access.server}: {fault}; {note}")
                last_message = fault.detail
                if fault.fatal or not fault.retry:
                    break
                wait = fault.retry_after or wait
            except (openai.APIConnectionError, ValueError, TimeoutError) as error:
                if isinstance(error.__cause__, UnreadableBody):
                    last_message = str(error.__cause__)
                    break
                last_message = self._describe(error)
            self.pause(wait)
            if self.stop.asked:
                raise Stopped
        last_message = self.access.mask_key(last_message).rstrip(" .")
        raise UserError(f"{self.access.server}: {last_message}. All answers are kept. Run the same command to continue")

    def _describe(self, error: Exception) -> str:
        if isinstance(error, json.JSONDecodeError):
            return f"the answer is not an object of the Batch API ({self._quote(error.doc)}). Check base_url="
        return f"{error} ({self._quote(error.content)})" if isinstance(error, UnexpectedAnswer) else str(error)

    def _quote(self, content: str) -> str:
        # Masked first: a key that is cut in two is not found.
        return extract_words(self.access.mask_key(content)) or "nothing"

    def _attempt(self, call: Callable[[], T], seconds: float) -> T:
        """Return the result of a call, made in a thread, so that neither a slow server nor a signal has to wait for it."""
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(call())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, name="batch call", daemon=True)
        thread.start()
        end, is_ending = time.monotonic() + seconds, False
        while thread.is_alive():
            thread.join(_CHECK_SECONDS)
            if self.stop.asked and not is_ending:
                end, is_ending = min(end, time.monotonic() + _GRACE_SECONDS), True
            if thread.is_alive() and time.monotonic() > end:
                if is_ending:
                    raise Stopped
                raise TimeoutError(f"no complete answer within {seconds:g} s (see request_timeout=)")
        if errors:
            raise errors[0]
        return results[0]

    def pause(self, seconds: float) -> None:
        """Sleep for this time, or until a signal comes."""
        end = time.monotonic() + seconds
        while not self.stop.asked and (remaining := end - time.monotonic()) > 0:
            time.sleep(min(remaining, _CHECK_SECONDS))
