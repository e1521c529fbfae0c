"""Script of the stand-in server, its replies to completions, and their log."""

import hashlib
import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random

from tests.textgen.stand_in.answers import CHAT, compute_usage, get_schema, list_messages, make_answers, make_completion

PAID = {  # fault -> True if the service charges for it
    "429": False,
    "429-retry-after": False,
    "500": False,
    "503": False,
    "reset-before": False,
    "reset": True,
    "stall": True,
    "truncated-json": True,
    "empty-choice": True,
    "null-content": True,
    "refusal": True,
    "wrong-schema": True,
    "length": True,
}
_OF_CONTENT = {
    "empty-choice",
    "null-content",
    "refusal",
    "wrong-schema",
    "length",
}  # faults that lines of a batch may have too
_MESSAGES = {  # status, message, type, code
    "429": (429, "Rate limit reached for requests. Please try again later.", "requests", "rate_limit_exceeded"),
    "500": (500, "The server had an error while processing your request. Sorry about that!", "server_error", None),
    "503": (503, "The engine is currently overloaded, please try again later.", "service_unavailable", None),
    "401": (401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "insufficient_quota": (
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "model_not_found": (404, "The model does not exist.", "invalid_request_error", "model_not_found"),
}


@dataclass
class BatchScript:
    """Faults of batches; shares of lines, 0 to 1."""

    shuffle: bool = False
    duplicate: float = 0.0  # lines of the output file that come twice
    expire: float = 0.0  # lines that are not answered in time ...
    expire_batches: int = 1  # ... in this many batches, the first ones
    fail: float = 0.0  # lines with status 500, half of them in the output file
    polls: int = 2  # times that a batch is asked for before it is done
    reject_over_requests: int | None = None
    reject_over_bytes: int | None = None


@dataclass
class Script:
    """Answers and faults of the server; the fields are the keys of the script's JSON.

    Raises:
        TypeError: if a key is unknown.
        ValueError: if it names a fault, an answer or a fatal error that does not exist.
    """

    seed: int = 0
    answer: str = "caption"  # or echo, or fixed
    text: str = ""  # answer of the kind `fixed`
    key: str = ""  # the only accepted key; "" accepts all
    models: list[str] = field(default_factory=lambda: ["stand-in", "stand-in-mini"])
    delay: float | list[float] = 0.0  # seconds before each answer, or their range
    faults: dict[str, float] = field(default_factory=dict)  # fault -> probability
    max_faults: int | None = None  # faults per request; None: no limit
    permanent: list[str] = field(default_factory=list)  # faults that a request has always or never
    retry_after: float = 0.05  # seconds
    retry_after_date: bool = False  # the header is a date, in whole seconds
    stall_seconds: float = 3600.0
    fatal: str = ""  # insufficient_quota or model_not_found: no request is ever answered
    quota_after: int | None = None  # paid requests until none is answered
    no_schema: bool = False
    no_usage: bool = False
    call_faults: dict[str, list[str]] = field(
        default_factory=dict
    )  # in turn, such as "POST /v1/batches": ["reset", "500"]
    batch: BatchScript = field(default_factory=BatchScript)

    def __post_init__(self):
        if isinstance(self.batch, dict):
            self.batch = BatchScript(**self.batch)
        for name in [*self.faults, *self.permanent]:
            if name not in PAID:
                raise ValueError(f"no fault {name!r}; there are {', '.join(PAID)}")
        if self.answer not in ("caption", "echo", "fixed"):
            raise ValueError(f"no answer {self.answer!r}; there are caption, echo, fixed")
        if self.fatal not in ("", "insufficient_quota", "model_not_found"):
            raise ValueError(f"no fatal error {self.fatal!r}; there are insufficient_quota, model_not_found")
        for name in (name for names in self.call_faults.values() for name in names):
            if name not in ("reset", *_MESSAGES):
                raise ValueError(f"no fault {name!r} of a call; there are reset, {', '.join(_MESSAGES)}")
        if sum(self.faults.values()) > 1.0 + 1e-9:
            raise ValueError("the faults' probabilities sum to more than 1")


@dataclass(frozen=True)
class Reply:
    """Reply of the server; `how` is send, reset (nothing is sent), stall (sent late) or short (the end is missing)."""

    status: int
    content: bytes
    how: str = "send"
    headers: tuple[tuple[str, str], ...] = ()


def make_failure(status, message, kind="invalid_request_error", code=None, param=None):
    """Return the status and body of an error of the API."""
    return status, {"error": {"message": message, "type": kind, "param": param, "code": code}}


def make_known_failure(name):
    """Return the status and body of an error by name, such as 429 or insufficient_quota."""
    return make_failure(*_MESSAGES[name])


class Completions:
    """Completions of requests; each attempt is logged before its answer is sent.

    Attributes:
        num_waiting: number of requests accepted and not yet answered, which the server counts.
    """

    def __init__(self, script, log):
        self.script = script
        self.num_waiting = 0
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._attempts = Counter()
        self._faults = Counter()
        self._num_paid = 0

    def record(self, **line):
        """Append a line to the log."""
        os.write(self._log, (json.dumps(line | {"time": time.time()}) + "\n").encode())

    def request(self, endpoint, content, is_known):
        """Reply to a request with the body `content`; `is_known` is True if its key is right."""
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        identity, attempt = self._next_attempt(body if body is not None else content.decode(errors="replace"))
        more = {"in_flight": self.num_waiting}
        blocked = self._blocked(endpoint, body) if is_known else ("401", make_known_failure("401"))
        if blocked:
            name, (status, shape) = blocked
            self._note(identity, attempt, name, endpoint, None, more)
            return Reply(status, json.dumps(shape).encode())
        fault = self._fault(identity, attempt)
        if fault and not PAID[fault]:
            self._note(identity, attempt, fault, endpoint, None, more)
            return self._unpaid(fault)
        shape = self._answered(identity, attempt, fault, endpoint, body, more)
        content = json.dumps(shape).encode()
        if fault == "truncated-json":  # half of them end before their Content-Length, half are not JSON
            if self._draw("cut", identity, attempt) < 0.5:
                return Reply(200, content, "short")
            return Reply(200, content[: len(content) // 2])
        return Reply(200, content, fault if fault in ("reset", "stall") else "send")

    def expire(self, endpoint, body, **more):
        """Log a line of a batch that was not answered in time; `more` are further fields of the log."""
        identity, attempt = self._next_attempt(body)
        self._note(identity, attempt, "expired", endpoint, None, more)

    def line(self, endpoint, body, **more):
        """Return the status and body for a line of a batch; `more` are further fields of the log."""
        identity, attempt = self._next_attempt(body)
        blocked = self._blocked(endpoint, body)
        if not blocked and self._may_fail(identity) and self._draw("fail", identity, attempt) < self.script.batch.fail:
            self._faults[identity] += 1
            blocked = "500", make_known_failure("500")
        if blocked:
            name, (status, shape) = blocked
            self._note(identity, attempt, name, endpoint, None, more)
            return status, shape
        fault = self._fault(identity, attempt, _OF_CONTENT)
        return 200, self._answered(identity, attempt, fault, endpoint, body, more)

    def get_quota_failure(self):
        """Return the name of the error that all requests get, or None."""
        if self.script.fatal:
            return self.script.fatal
        is_used_up = self.script.quota_after is not None and self._num_paid >= self.script.quota_after
        return "insufficient_quota" if is_used_up else None

    def _blocked(self, endpoint, body):
        """Return the name, status and body of a permanent error of a request."""
        if name := self.get_quota_failure():
            return name, make_known_failure(name)
        try:
            list_messages(endpoint, body)
        except ValueError as error:
            return "400", make_failure(400, str(error))
        if self.script.no_schema and get_schema(endpoint, body) is not None:
            param = "response_format" if endpoint == CHAT else "text.format"
            message = f"Invalid parameter: '{param}' of type 'json_schema' is not supported with this model."
            return "400", make_failure(400, message, param=param)
        return None

    def _next_attempt(self, body):
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        identity = hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()
        self._attempts[identity] += 1
        return identity, self._attempts[identity]

    def _draw(self, *what):
        """Draw a number in [0, 1) by the script's seed and `what`."""
        return Random("/".join(map(str, (self.script.seed, *what)))).random()

    def _may_fail(self, identity):
        return self.script.max_faults is None or self._faults[identity] < self.script.max_faults

    def _fault(self, identity, attempt, names=PAID):
        """Draw the fault of this attempt, among `names`; permanent faults are drawn once per request."""
        faults, permanent = self.script.faults, self.script.permanent
        if not faults:
            return None
        fault = _pick({name: faults.get(name, 0.0) for name in permanent}, self._draw("always", identity))
        if fault is None and self._may_fail(identity):
            passing = {name: share for name, share in faults.items() if name not in permanent}
            fault = _pick(passing, self._draw(identity, attempt))
        if fault not in names:
            return None
        self._faults[identity] += 1
        return fault

    def _answered(self, identity, attempt, fault, endpoint, body, more):
        """Return the body of a paid answer, after logging it."""
        chosen = make_answers(self.script, endpoint, body, identity, fault)
        used = compute_usage(endpoint, body, chosen)
        self._num_paid += 1
        self._note(identity, attempt, fault or "answered", endpoint, used, more)
        return make_completion(
            endpoint, body, chosen, None if self.script.no_usage else used, f"{identity[:20]}{attempt}"
        )

    def _note(self, identity, attempt, outcome, endpoint, used, more):
        paid = used is not None
        self.record(
            identity=identity, attempt=attempt, outcome=outcome, paid=paid, usage=used, endpoint=endpoint, **more
        )

    def _unpaid(self, fault):
        if fault == "reset-before":
            return Reply(0, b"", "reset")
        status, shape = make_known_failure(fault.partition("-")[0])
        headers = ()
        if fault == "429-retry-after":
            after = self.script.retry_after
            date = formatdate(math.ceil(time.time() + after), usegmt=True) if self.script.retry_after_date else None
            headers = (("Retry-After", date or str(after)),)
        return Reply(status, json.dumps(shape).encode(), headers=headers)


def _pick(shares, number):
    """Return the name whose part of [0, 1), in the order of `shares`, contains `number`; None beyond them."""
    for name, share in shares.items():
        number -= share
        if number < 0:
            return name
    return None
