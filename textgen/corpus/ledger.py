"""Ledger of a journal: answered requests, spend, and requests in flight."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Outcome of an attempt that was sent and has no result when the journal is opened again: the process was killed.
LOST = "in flight at a kill"


class Spend(NamedTuple):
    """Spend in tokens (input and output together) and in dollars."""

    tokens: int = 0
    cost: float = 0.0

    def plus(self, other: "Spend") -> "Spend":
        """Return the sum."""
        return Spend(self.tokens + other.tokens, self.cost + other.cost)

    def minus(self, other: "Spend") -> "Spend":
        """Return the difference."""
        return Spend(self.tokens - other.tokens, self.cost - other.cost)


NOTHING = Spend()


class BadEvent(ValueError):
    """Event that lacks a field, or has an impossible value; the message shows it."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Caps on the spend of a corpus, the same for every generator.

    Attributes:
        max_cost: cap in dollars for the whole corpus; None for no cap.
        max_total_tokens: cap in input and output tokens for the whole corpus; None for no cap.
    """

    max_cost: float | None = None
    max_total_tokens: int | None = None

    def find_reached(self, spend: Spend) -> str | None:
        """Return the cap that this spend would exceed, as `setting=value`; None if there is none."""
        # Costs are sums of floats, so one that equals the cap except for rounding does not exceed it.
        if self.max_cost is not None and spend.cost > self.max_cost * (1 + 1e-9):
            return f"max_cost={self.max_cost:g}"
        if self.max_total_tokens is not None and spend.tokens > self.max_total_tokens:
            return f"max_total_tokens={self.max_total_tokens}"
        return None


@dataclass
class Part:
    """One file submitted to the Batch API.

    Attributes:
        number: number of the file, counted from 1.
        ids: ids of its requests.
        open: ids of its requests without a result.
        batch_id: the provider's id of the batch; None before it is submitted.
        done: True if its results are in the journal, or it was never submitted.
    """

    number: int
    ids: frozenset[str]
    open: set[str]
    batch_id: str | None = None
    done: bool = False


@dataclass(frozen=True)
class Sent:
    """Attempt in flight.

    Attributes:
        attempt: number of the attempt, counted from 1.
        reserved: the most it can cost.
        part: number of its batch file; None for a request that was sent alone.
    """

    attempt: int
    reserved: Spend
    part: int | None


@dataclass
class Ledger:
    """Summary of the journal's events. Costs are in dollars; "reserved" is the most that a request can cost.

    Attributes:
        answered: ids of requests with an answer.
        refused: number of these that the model declined.
        failed: id -> last fault of requests that were given up; a later run sends them again.
        open: id -> attempt in flight.
        attempts: id -> number of attempts, for requests without an answer.
        spent: cost of all attempts that have an outcome.
        reserved: reserved cost of all attempts in flight.
        by_outcome: outcome ("answer", a kind of fault, or `LOST`) -> number of attempts.
        spent_by_outcome: outcome -> cost of its attempts.
        charged_at_reserve: outcome -> number of its attempts whose usage the server did not report.
        parts: number -> batch file.
        models: name that servers gave for the model -> number of answers.
        servers: servers that requests went to, in order; the values are not used.
        over_reserve: number of attempts that cost more than was reserved.
        ignored_lines: number of lines in batch results that were duplicates or matched no request.
        usage: totals of input_tokens and output_tokens, as servers reported them.
    """

    answered: set[str] = field(default_factory=set)
    refused: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    open: dict[str, Sent] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    spent: Spend = NOTHING
    reserved: Spend = NOTHING
    by_outcome: Counter[str] = field(default_factory=Counter)
    spent_by_outcome: dict[str, Spend] = field(default_factory=dict)
    charged_at_reserve: Counter[str] = field(default_factory=Counter)
    parts: dict[int, Part] = field(default_factory=dict)
    models: Counter[str] = field(default_factory=Counter)
    servers: dict[str, None] = field(default_factory=dict)
    over_reserve: int = 0
    ignored_lines: int = 0
    usage: Counter[str] = field(default_factory=Counter)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Update the ledger with the next event.

        Raises:
            BadEvent: if it lacks a field, or has an impossible value.
        """
        try:
            self._apply(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadEvent(
                f"an event lacks a field or has a wrong one: {json.dumps(event)[:80]} ({error!r})"
            ) from error

    def _apply(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "sent":
            self._send(event["id"], event["attempt"], _read_spend(event), None)
        elif kind in ("answer", "fault", "lost"):
            self._settle(kind, event)
        elif kind == "gave_up":
            self.failed[event["id"]] = event["fault"]
        elif kind == "session":
            if event.get("server"):
                self.servers[event["server"]] = None
        elif kind.startswith("batch"):
            self._apply_batch_event(kind, event)

    def _send(self, request: str, attempt: int, reserved: Spend, part: int | None) -> None:
        self.open[request] = Sent(attempt, reserved, part)
        self.reserved = self.reserved.plus(reserved)
        self.attempts[request] = attempt

    def _settle(self, kind: str, event: Mapping[str, Any]) -> None:
        request, paid = event["id"], _read_spend(event)
        usage = {name: _check_count(event.get(name, 0)) for name in ("input_tokens", "output_tokens")}
        if kind == "answer":
            _check_items(event["items"])
        sent = self.open.pop(request, None)
        if sent is not None:
            # Exactly 0 when nothing is in flight: rounding errors of many sums must not stay.
            self.reserved = self.reserved.minus(sent.reserved) if self.open else Spend()
            if sent.part is not None:
                self.parts[sent.part].open.discard(request)
            self.over_reserve += paid.tokens > sent.reserved.tokens
        self.spent = self.spent.plus(paid)
        outcome = {"answer": "answer", "lost": LOST}.get(kind) or event["fault"]
        self.by_outcome[outcome] += 1
        self.spent_by_outcome[outcome] = self.spent_by_outcome.get(outcome, Spend()).plus(paid)
        self.charged_at_reserve[outcome] += event.get("paid") == "reserved"
        self.usage.update(usage)
        if kind == "answer":
            self.answered.add(request)
            self.attempts.pop(request, None)
            self.failed.pop(request, None)
            self.refused += "refusal" in event
            if event.get("model"):
                self.models[event["model"]] += 1

    def _apply_batch_event(self, kind: str, event: Mapping[str, Any]) -> None:
        number = event["part"]
        if kind == "batch":
            self.parts[number] = Part(number, frozenset(event["ids"]), set(event["ids"]))
            for request, attempt, tokens, cost in zip(
                event["ids"], event["attempts"], event["tokens"], event["costs"], strict=True
            ):
                self._send(request, attempt, _check_spend(tokens, cost), number)
        elif kind == "batch_submitted":
            self.parts[number].batch_id = event["batch_id"]
        elif kind == "batch_done":
            self.parts[number].done = True
            self.ignored_lines += event.get("ignored_lines", 0)
        elif kind == "batch_dropped":  # the provider never received it, so it costs nothing
            part = self.parts[number]
            for request in part.open:
                self.reserved = self.reserved.minus(self.open.pop(request).reserved)
            part.open.clear()
            part.done = True

    def find_lost(self) -> dict[str, Sent]:
        """Return the attempts that a killed process left in flight, by id; the provider still has those in batches."""
        return {request: sent for request, sent in self.open.items() if sent.part is None}

    @property
    def sent(self) -> set[str]:
        """Ids of all requests that were sent or answered."""
        in_parts = (part.ids for part in self.parts.values())
        return self.answered.union(self.attempts, self.failed, self.open, *in_parts)

    @property
    def waiting(self) -> list[Part]:
        """Batch files whose results are not in the journal, by number."""
        return [part for _, part in sorted(self.parts.items()) if not part.done]

    @property
    def committed(self) -> Spend:
        """Spend so far plus the reserved cost of attempts in flight."""
        return self.spent.plus(self.reserved)


def _read_spend(event: Mapping[str, Any]) -> Spend:
    return _check_spend(event.get("tokens", 0), event.get("cost", 0.0))


def _check_spend(tokens: Any, cost: Any) -> Spend:
    """Return a spend; raise ValueError if it is negative or not a finite number, because it would lift the caps."""
    is_number = isinstance(cost, int | float) and not isinstance(cost, bool)
    if not is_number or not math.isfinite(cost) or cost < 0:
        raise ValueError(f"the cost is {cost!r}")
    return Spend(_check_count(tokens), cost)


def _check_count(tokens: Any) -> int:
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        raise ValueError(f"the number of tokens is {tokens!r}")
    return tokens


def _check_items(items: Any) -> None:
    is_list = isinstance(items, list) and all(isinstance(item, dict) for item in items)
    if not is_list or not all(isinstance(text, str) for item in items for text in item.values()):
        raise TypeError("the items are not texts")
