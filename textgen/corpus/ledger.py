"""What the journal says happened: who was answered, what was paid for it, and what is under way."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# A request that was sent and has no outcome when the journal is opened again: the process was killed meanwhile.
LOST = "in flight at a kill"


class Spend(NamedTuple):
    """Tokens, input and output together, and dollars."""

    tokens: int = 0
    cost: float = 0.0

    def plus(self, other: "Spend") -> "Spend":
        """Both together."""
        return Spend(self.tokens + other.tokens, self.cost + other.cost)

    def minus(self, other: "Spend") -> "Spend":
        """Without the other."""
        return Spend(self.tokens - other.tokens, self.cost - other.cost)


NOTHING = Spend()


@dataclass(frozen=True, kw_only=True)
class Caps:
    """How much may be spent on a corpus, whoever answers.

    Attributes:
        max_cost: dollars for the whole corpus; None is no limit.
        max_total_tokens: the same in tokens, input and output together.
    """

    max_cost: float | None = None
    max_total_tokens: int | None = None

    def find_reached(self, spend: Spend) -> str | None:
        """Return the cap that so much would break; None if there is none."""
        # Costs are sums of floats: one that is the cap but for rounding does not break it.
        if self.max_cost is not None and spend.cost > self.max_cost * (1 + 1e-9):
            return f"max_cost={self.max_cost:g}"
        if self.max_total_tokens is not None and spend.tokens > self.max_total_tokens:
            return f"max_total_tokens={self.max_total_tokens}"
        return None


@dataclass
class Part:
    """One file of a batch.

    Attributes:
        number: counted from 1.
        ids: of its requests.
        open: those of them without a result yet.
        batch_id: the provider's, once it was submitted.
        done: whether its results are in the journal, or it was never submitted.
    """

    number: int
    ids: frozenset[str]
    open: set[str]
    batch_id: str | None = None
    done: bool = False


@dataclass(frozen=True)
class Sent:
    """An attempt under way."""

    attempt: int
    reserved: Spend
    part: int | None


@dataclass
class Ledger:
    """The journal's events, summed up. Costs are in dollars; "reserved" is the most that a request can cost.

    Attributes:
        answered: ids of requests with an answer.
        refused: how many of them the model declined.
        failed: id -> last fault of requests that were given up; a later run asks them again.
        open: id -> what is under way.
        attempts: id -> how often it was asked, of those without an answer.
        spent: on everything that has an outcome.
        reserved: for what is under way.
        by_outcome: "answer", a kind of fault, or `LOST` -> number of attempts.
        spent_by_outcome: the same -> what they cost.
        charged_at_reserve: the same -> attempts whose usage nobody reported.
        parts: batches, by number.
        models: names that servers gave for the model, with counts.
        servers: where was asked, in order.
        over_reserve: attempts that cost more than was reserved.
        ignored_lines: of batches' results, that came twice or belong to no request.
        usage: input_tokens and output_tokens, as servers reported them.
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
        """Takes the next event into account."""
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
        sent = self.open.pop(request, None)
        if sent is not None:
            self.reserved = self.reserved.minus(sent.reserved) if self.open else Spend()
            if sent.part is not None:
                self.parts[sent.part].open.discard(request)
            self.over_reserve += paid.tokens > sent.reserved.tokens
        self.spent = self.spent.plus(paid)
        outcome = {"answer": "answer", "lost": LOST}.get(kind) or event["fault"]
        self.by_outcome[outcome] += 1
        self.spent_by_outcome[outcome] = self.spent_by_outcome.get(outcome, Spend()).plus(paid)
        self.charged_at_reserve[outcome] += event.get("paid") == "reserved"
        for name in ("input_tokens", "output_tokens"):
            self.usage[name] += event.get(name, 0)
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
                self._send(request, attempt, Spend(tokens, cost), number)
        elif kind == "batch_submitted":
            self.parts[number].batch_id = event["batch_id"]
        elif kind == "batch_done":
            self.parts[number].done = True
            self.ignored_lines += event.get("ignored_lines", 0)
        elif kind == "batch_dropped":  # the provider never had it
            part = self.parts[number]
            for request in part.open:
                self.reserved = self.reserved.minus(self.open.pop(request).reserved)
            part.open.clear()
            part.done = True

    def lost(self) -> dict[str, Sent]:
        """What was under way when the process was killed, by id; what waits in a batch is not lost."""
        return {request: sent for request, sent in self.open.items() if sent.part is None}

    @property
    def waiting(self) -> list[Part]:
        """Batches whose results are not in the journal, by number."""
        return [part for _, part in sorted(self.parts.items()) if not part.done]

    @property
    def committed(self) -> Spend:
        """What is spent, and what may be spent on what is under way."""
        return self.spent.plus(self.reserved)


def _read_spend(event: Mapping[str, Any]) -> Spend:
    return Spend(event.get("tokens", 0), event.get("cost", 0.0))
