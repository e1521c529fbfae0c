"""The report's tables of what became of every request, and of what was paid for it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.ledger import LOST, Ledger, Spend
from textgen.report.corpus_summary import CorpusSummary

HIDDEN = "[hidden]"
_SHORTEST_KEY = 8  # what is shorter protects nothing, and may be a word of any setting

_MEANINGS = {
    "answer": "in the journal, and never asked again",
    LOST: "the process was killed before the answer was in the journal",
    "429": "the server was asked too fast; it refused",
    "no schema": "the server takes no JSON schema, and was asked without from then on",
    "no connection": "the server was not reached",
    "connection lost": "the connection broke after the request was sent",
    "deadline": "no answer in time",
    "truncated": "what came was no whole JSON",
    "malformed": "what came was not as the API says",
    "empty": "an answer without text",
    "wrong shape": "an answer without the recipe's fields",
    "cut short": "an answer longer than max_output_tokens",
    "batch expired": "the provider did not come to it in time",
    "no result": "the batch ended without a line for it",
}


@dataclass(frozen=True)
class ChainRow:
    """One step from the plan to the corpus; `removed` is None where nothing can be taken out.

    Attributes:
        name: of the step.
        note: a few words about it.
        num_in: requests or texts that reached it.
        removed: how many ended there.
        left: how many went on.
        of_texts: whether it counts texts; requests otherwise.
        share: of the requests planned, or of the texts written, that are left, 0 to 1.
        examples: id, reason and text of some that were taken out.
    """

    name: str
    note: str
    num_in: int | None
    removed: int | None
    left: int
    of_texts: bool
    share: float
    examples: tuple[Mapping[str, Any], ...] = ()


def build_chain_rows(summary: CorpusSummary) -> list[ChainRow]:
    """From the requests planned to the texts kept."""
    ledger, filters, planned = summary.ledger, summary.filters, summary.num_planned
    answered, declined = len(ledger.answered), ledger.refused
    divisor = max(1, planned)
    rows = [
        ChainRow("requests planned", "", None, None, planned, False, 1.0),
        ChainRow(
            "answered", _describe_unanswered(summary), planned, planned - answered, answered, False, answered / divisor
        ),
    ]
    if summary.by_model:
        num_left = answered - declined
        rows.append(ChainRow("not declined by the model", "", answered, declined, num_left, False, num_left / divisor))
    written, texts_per_request = filters["num_texts"], summary.recipe.settings.items_per_request
    note = f"up to {texts_per_request} to a request" if texts_per_request > 1 else ""
    if num_late := answered - filters["num_answers"]:
        note = f"{num_late:,} answers came after these filters ran; action=filter takes them in"
    rows.append(ChainRow("texts written", note, None, None, written, True, 1.0))
    for stage in filters["stages"]:
        num_left = stage["num_in"] - stage["num_out"]
        share, examples = num_left / max(1, written), tuple(stage["examples"])
        rows.append(ChainRow(stage["name"], "", stage["num_in"], stage["num_out"], num_left, True, share, examples))
    return rows


def _describe_unanswered(summary: CorpusSummary) -> str:
    ledger = summary.ledger
    given_up, under_way = len(ledger.failed), len(ledger.open)
    not_asked = summary.num_planned - len(ledger.answered) - given_up - under_way
    parts = [
        f"{given_up:,} given up" if given_up else "",
        f"{under_way:,} under way" if under_way else "",
        f"{not_asked:,} not asked yet" if not_asked > 0 else "",
    ]
    return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class SpendRow:
    """Attempts that ended alike, and what they cost."""

    outcome: str
    meaning: str
    attempts: int
    spend: Spend
    at_reserve: int


def build_spend_rows(ledger: Ledger) -> list[SpendRow]:
    """One row an outcome: answers, attempts lost in kills, then faults, the dearest first."""
    order = {"answer": 0, LOST: 1}

    def rank(outcome: str) -> tuple[int, int, str]:
        return order.get(outcome, 2), -ledger.spent_by_outcome.get(outcome, Spend()).tokens, outcome

    return [
        SpendRow(
            outcome,
            _explain_outcome(outcome),
            ledger.by_outcome[outcome],
            ledger.spent_by_outcome.get(outcome, Spend()),
            ledger.charged_at_reserve[outcome],
        )
        for outcome in sorted(ledger.by_outcome, key=rank)
    ]


def _explain_outcome(outcome: str) -> str:
    if outcome in _MEANINGS:
        return _MEANINGS[outcome]
    if outcome.isdigit():
        return "a failure of the server" if int(outcome) >= 500 else "the server refused the request"
    return ""


@dataclass(frozen=True)
class Bound:
    """How many attempts were paid for, beside the most that can have been.

    Attributes:
        paid: attempts that were charged.
        planned: requests.
        lost: attempts in flight at kills.
        faults: attempts that failed after the server may have taken them; each was charged.
    """

    paid: int
    planned: int
    lost: int
    faults: int

    @property
    def most(self) -> int:
        """Each request once, and again for each attempt that was paid for and gave nothing."""
        return self.planned + self.lost + self.faults

    @classmethod
    def from_summary(cls, summary: CorpusSummary) -> "Bound":
        """Of a corpus."""
        ledger = summary.ledger
        spent = ledger.spent_by_outcome
        charged = {name: num for name, num in ledger.by_outcome.items() if spent.get(name, Spend()).tokens}
        answers, lost = charged.pop("answer", 0), charged.pop(LOST, 0)
        faults = sum(charged.values())
        return cls(answers + lost + faults, summary.num_planned, lost, faults)


def format_money(cost: float, prices: str) -> str:
    """Dollars for people; what has no price has no cost that anyone knows."""
    if prices == "unknown":
        return "not known"
    if 0 < cost < 0.0001:
        return "under $0.0001"
    return f"${cost:,.2f}" if cost >= 100 else f"${cost:,.4f}"


def format_settings(config: SynthesizeCaptionsConfig) -> dict[str, Any]:
    """The settings as JSON has them, without what may be a key: pasted as the variable's name, or in an address."""
    settings = config.model_dump(mode="json")
    name = config.api_key_env
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        settings["api_key_env"] = HIDDEN
    if config.base_url is not None:
        settings["base_url"] = mask_address(config.base_url)
    return dict(_remove_key(settings, os.environ.get(name, "")))


def _remove_key(value: Any, key: str) -> Any:
    """A JSON value without the key, wherever it stands."""
    if len(key) < _SHORTEST_KEY:
        return value
    if isinstance(value, dict):
        return {name: _remove_key(item, key) for name, item in value.items()}
    if isinstance(value, list):
        return [_remove_key(item, key) for item in value]
    return value.replace(key, HIDDEN) if isinstance(value, str) else value


def mask_address(address: str) -> str:
    """A server's address without user, password and query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
