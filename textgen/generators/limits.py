"""Limits of rate, time and spend of requests to a server, and the waits that servers ask for."""

import datetime
from dataclasses import dataclass

from textgen.corpus.ledger import Caps
from textgen.generators.responses import RequestError

LONG_WAIT = 60.0  # seconds that a server may ask to wait without a note


@dataclass(frozen=True, kw_only=True)
class Limits(Caps):
    """Limits of rate, time and spend.

    Attributes:
        concurrency: number of requests in flight.
        requests_per_minute, tokens_per_minute: rate limits of the server; None for no limit.
        request_timeout: seconds for one attempt.
        max_attempts: number of attempts per request and run.
        initial_backoff: seconds before the second attempt, doubled for each further one.
        max_wait: longest time in seconds that a server may ask to wait.
    """

    concurrency: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    request_timeout: float = 60.0
    max_attempts: int = 8
    initial_backoff: float = 0.5
    max_wait: float = 3600.0

    def check_wait(self, fault: RequestError) -> str | None:
        """Return a note if a server asks for a long wait; make the fault fatal if it asks for more than `max_wait`."""
        if (wait := fault.retry_after or 0.0) <= min(LONG_WAIT, self.max_wait):
            return None
        if wait > self.max_wait:
            fault.fatal = True
            fault.detail += f" (the server asks to wait until {_describe_time(wait)}, and max_wait={self.max_wait:g} seconds is less)"
            return None
        return f"the server asks to wait until {_describe_time(wait)}"


def _describe_time(seconds: float) -> str:
    """Return the local time in some seconds, in words."""
    try:
        moment = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return "after the year 9999"
    return moment.strftime("%Y-%m-%d %H:%M %Z")
