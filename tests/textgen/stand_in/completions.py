"""The stand-in server's script, what it makes of each request for a completion, and the log of them."""

import hashlib
import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random

from tests.textgen.stand_in.answers import CHAT, answers, completion, messages_of, schema_of, usage

PAID = {  # every fault, and whether the service charges for it
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
_OF_CONTENT = {"empty-choice", "null-content", "refusal", "wrong-schema", "length"}  # what a batch's lines have too
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
    """What goes wrong with batches; shares are of lines, 0 to 1."""

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
    """What the server says and what goes wrong; the keys of the script's JSON.

    Raises:
        TypeError: if a key is none of these.
        ValueError: if it names a fault, an answer or a fatal error that does not exist.
    """

    seed: int = 0
    answer: str = "caption"  # or echo, or fixed
    text: str = ""  # of the answer fixed
    key: str = ""  # the only one accepted; "" accepts all
    models: list[str] = field(default_factory=lambda: ["stand-in", "stand-in-mini"])
    delay: float | list[float] = 0.0  # seconds before each answer, or the least and the most of them
    faults: dict[str, float] = field(default_factory=dict)  # probability a fault
    max_faults: int | None = None  # of one request; None: no limit
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
    """What goes out: `how` is send, reset (nothing goes out), stall (sent late) or short (the end is missing)."""

    status: int
    content: bytes
    how: str = "send"
    headers: tuple[tuple[str, str], ...] = ()


def failure(status, message, kind="invalid_request_error", code=None, param=None):
    """An error's status and body in the API's shape."""
    return status, {"error": {"message": message, "type": kind, "param": param, "code": code}}


def known_failure(name):
    """The status and body of an error by name, such as 429 or insufficient_quota."""
    return failure(*_MESSAGES[name])


class Completions:
    """Answers requests, one attempt after another, and logs each before its answer goes out.

    Attributes:
        num_waiting: requests accepted and not yet answered; the server counts them.
    """

    def __init__(self, script, log):
        self.script = script
        self.num_waiting = 0
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._attempts = Counter()
        self._faults = Counter()
        self._num_paid = 0

    def record(self, **line):
        """Appends a line to the log."""
        os.write(self._log, (json.dumps(line | {"time": time.time()}) + "\n").encode())

    def request(self, endpoint, content, is_known):
        """What is replied to a request with the body `content`; `is_known` if its key is right."""
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        identity, attempt = self._next_attempt(body if body is not None else content.decode(errors="replace"))
        more = {"in_flight": self.num_waiting}
        blocked = self._blocked(endpoint, body) if is_known else ("401", known_failure("401"))
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
        if fault == "truncated-json":  # half of them end before their Content-Length, half are no JSON
            if self._draw("cut", identity, attempt) < 0.5:
                return Reply(200, content, "short")
            return Reply(200, content[: len(content) // 2])
        return Reply(200, content, fault if fault in ("reset", "stall") else "send")

    def expire(self, endpoint, body, **more):
        """Logs a line of a batch that was not answered in time; `more` is what the log says of it besides."""
        identity, attempt = self._next_attempt(body)
        self._note(identity, attempt, "expired", endpoint, None, more)

    def line(self, endpoint, body, **more):
        """The status and body that a line of a batch gets; `more` is what the log says of it besides."""
        identity, attempt = self._next_attempt(body)
        blocked = self._blocked(endpoint, body)
        if not blocked and self._may_fail(identity) and self._draw("fail", identity, attempt) < self.script.batch.fail:
            self._faults[identity] += 1
            blocked = "500", known_failure("500")
        if blocked:
            name, (status, shape) = blocked
            self._note(identity, attempt, name, endpoint, None, more)
            return status, shape
        fault = self._fault(identity, attempt, _OF_CONTENT)
        return 200, self._answered(identity, attempt, fault, endpoint, body, more)

    def quota_failure(self):
        """The name of the error that all requests get, or None."""
        if self.script.fatal:
            return self.script.fatal
        is_used_up = self.script.quota_after is not None and self._num_paid >= self.script.quota_after
        return "insufficient_quota" if is_used_up else None

    def _blocked(self, endpoint, body):
        """The name, and the status and body, of the error of a request that no attempt makes better."""
        if name := self.quota_failure():
            return name, known_failure(name)
        try:
            messages_of(endpoint, body)
        except ValueError as error:
            return "400", failure(400, str(error))
        if self.script.no_schema and schema_of(endpoint, body) is not None:
            param = "response_format" if endpoint == CHAT else "text.format"
            message = f"Invalid parameter: '{param}' of type 'json_schema' is not supported with this model."
            return "400", failure(400, message, param=param)
        return None

    def _next_attempt(self, body):
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        identity = hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()
        self._attempts[identity] += 1
        return identity, self._attempts[identity]

    def _draw(self, *what):
        """A number in [0, 1) for the script's seed and `what`."""
        return Random("/".join(map(str, (self.script.seed, *what)))).random()

    def _may_fail(self, identity):
        return self.script.max_faults is None or self._faults[identity] < self.script.max_faults

    def _fault(self, identity, attempt, names=PAID):
        """The fault of this attempt, if it is among `names`; those that stay are drawn once a request."""
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
        """The body of a paid answer, which is in the log by now."""
        chosen = answers(self.script, endpoint, body, identity, fault)
        used = usage(endpoint, body, chosen)
        self._num_paid += 1
        self._note(identity, attempt, fault or "answered", endpoint, used, more)
        return completion(endpoint, body, chosen, None if self.script.no_usage else used, f"{identity[:20]}{attempt}")

    def _note(self, identity, attempt, outcome, endpoint, used, more):
        paid = used is not None
        self.record(
            identity=identity, attempt=attempt, outcome=outcome, paid=paid, usage=used, endpoint=endpoint, **more
        )

    def _unpaid(self, fault):
        if fault == "reset-before":
            return Reply(0, b"", "reset")
        status, shape = known_failure(fault.partition("-")[0])
        headers = ()
        if fault == "429-retry-after":
            after = self.script.retry_after
            date = formatdate(math.ceil(time.time() + after), usegmt=True) if self.script.retry_after_date else None
            headers = (("Retry-After", date or str(after)),)
        return Reply(status, json.dumps(shape).encode(), headers=headers)


def _pick(shares, number):
    """The name whose part of [0, 1), in the order of `shares`, holds `number`; None beyond them."""
    for name, share in shares.items():
        number -= share
        if number < 0:
            return name
    return None
