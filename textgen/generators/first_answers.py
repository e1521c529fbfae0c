"""Signs that a server can answer at all, and the faults that are fatal until it has."""

from collections import Counter
from dataclasses import dataclass, field

from textgen.generators.responses import NO_CONNECTION, UNREADABLE, WEB_PAGE, RequestError

_FIRST_TRIES = 3  # attempts of a kind that fails before any success: the server, or its API, may not exist
_MAX_FIRST_GIVEN_UP = 10  # requests; if the first ones of a run are all given up, the others would be too


@dataclass
class RequestFaults:
    """Numbers of a request's last attempts in a row without a server, and without a readable answer."""

    num_unreached: int = 0
    num_unread: int = 0


@dataclass
class FirstAnswers:
    """Record of one run: which steps towards an answer some request has made.

    Attributes:
        max_attempts: attempts per request.
        given_up: last fault, in the server's words -> number of requests that were given up for it.
        is_reached: True if a request has reached the server.
        is_readable: True if an answer followed the API.
        is_answered: True if an answer could be used.
        num_web_pages: number of web pages in place of answers.
    """

    max_attempts: int
    given_up: Counter[str] = field(default_factory=Counter)
    is_reached: bool = False
    is_readable: bool = False
    is_answered: bool = False
    num_web_pages: int = 0

    def note_answer(self) -> None:
        """Record that an answer could be used."""
        self.is_reached = self.is_readable = self.is_answered = True

    def note_fault(self, fault: RequestError, request: RequestFaults) -> None:
        """Count a fault of a request, and make it fatal if the server has given no sign that others would fare better."""
        first_tries = min(_FIRST_TRIES, self.max_attempts)
        if fault.kind == NO_CONNECTION:
            request.num_unreached += 1
            fault.fatal = request.num_unreached >= (self.max_attempts if self.is_reached else first_tries)
            return
        self.is_reached, request.num_unreached = True, 0
        if fault.kind == WEB_PAGE:
            self.num_web_pages += 1
            if not self.is_readable and self.num_web_pages >= first_tries:
                fault.fatal = True
                fault.detail += ". This is not an answer of the API; base_url= usually ends with /v1"
        elif fault.kind in UNREADABLE:
            # Each may be charged at its reserve, so a few of the first ones are enough.
            request.num_unread += 1
            fault.fatal = fault.fatal or (not self.is_readable and request.num_unread >= first_tries)
        else:
            self.is_readable, request.num_unread = self.is_readable or fault.reply is not None, 0

    def note_given_up(self, fault: RequestError) -> bool:
        """Record that a request was given up; return True if all of the first ones were, so that the run should end."""
        self.given_up[str(fault)] += 1
        if self.is_answered or self.given_up.total() < _MAX_FIRST_GIVEN_UP:
            return False
        fault.detail = f"none of the first {self.given_up.total()} requests was answered ({fault})"
        return True
