"""Tables of the report: requests and texts left after each step, and spend by outcome."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from close_transfer.core.secret_texts import HIDDEN, KeyMask, mask_address
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.ledger import LOST, Ledger, Spend
from textgen.report.corpus_summary import CorpusSummary

_MEANINGS = {
    "answer": "in the journal; the request is never sent again",
    LOST: "the process was killed before the answer was in the journal",
    "429": "the server refused the request because of its rate limit",
    "no schema": "the server does not support JSON schemas; later requests had none",
    "no connection": "the server was not reached",
    "connection lost": "the connection broke after the request was sent",
    "deadline": "no answer in time",
    "truncated": "the answer was not complete JSON",
    "malformed": "the answer did not follow the API",
    "web page": "a web page came in place of an answer",
    "empty": "an answer without text",
    "wrong shape": "an answer without the recipe's fields",
    "cut short": "an answer longer than max_output_tokens",
    "batch expired": "the provider did not process it in time",
    "no result": "the batch ended without a result for it",
}


@dataclass(frozen=True)
class ChainRow:
    """Step from the plan to the corpus.

    Attributes:
        name: name of the step.
        note: short remark.
        num_in: number of requests or texts that reached the step; None for the first of each.
        removed: number of them that ended there; None if the step removes nothing.
        left: number of them that passed.
        of_texts: True if it counts texts, False if it counts requests.
        share: share of the planned requests, or of the written texts, that is left, 0 to 1.
        examples: id, reason and text of some that were removed.
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
    """Build the rows from the planned requests to the kept texts."""
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
    note = f"up to {texts_per_request} per request" if texts_per_request > 1 else ""
    if num_late := answered - filters["num_answers"]:
        note = f"{num_late:,} answers came after these filters ran; action=filter includes them"
    rows.append(ChainRow("texts written", note, None, None, written, True, 1.0))
    for stage in filters["stages"]:
        num_left = stage["num_in"] - stage["num_out"]
        share, examples = num_left / max(1, written), tuple(stage["examples"])
        rows.append(ChainRow(stage["name"], "", stage["num_in"], stage["num_out"], num_left, True, share, examples))
    return rows


def _describe_unanswered(summary: CorpusSummary) -> str:
    ledger = summary.ledger
    num_failed, num_open = len(ledger.failed), len(ledger.open)
    num_unsent = summary.num_planned - len(ledger.answered) - num_failed - num_open
    parts = [
        f"{num_failed:,} given up" if num_failed else "",
        f"{num_open:,} in flight" if num_open else "",
        f"{num_unsent:,} not sent yet" if num_unsent > 0 else "",
    ]
    return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class SpendRow:
    """Attempts with one outcome, and their cost.

    Attributes:
        outcome: "answer", a kind of fault, or `LOST`.
        meaning: explanation of the outcome.
        attempts: number of attempts.
        spend: their cost.
        at_reserve: number of attempts charged at the reserve.
    """

    outcome: str
    meaning: str
    attempts: int
    spend: Spend
    at_reserve: int


def build_spend_rows(ledger: Ledger) -> list[SpendRow]:
    """Build one row per outcome: answers, attempts lost in kills, then faults, the most expensive first."""
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
    """Number of paid attempts with its upper bound.

    Attributes:
        paid: number of attempts that were charged.
        planned: number of planned requests.
        lost: number of attempts in flight at kills.
        faults: number of charged attempts that failed after the server may have accepted them.
    """

    paid: int
    planned: int
    lost: int
    faults: int

    @property
    def maximum(self) -> int:
        """Upper bound: each request once, and once more for each paid attempt without an answer."""
        return self.planned + self.lost + self.faults

    @classmethod
    def from_summary(cls, summary: CorpusSummary) -> "Bound":
        """Count the paid attempts of a corpus."""
        ledger = summary.ledger
        spent = ledger.spent_by_outcome
        charged = {name: num for name, num in ledger.by_outcome.items() if spent.get(name, Spend()).tokens}
        answers, lost = charged.pop("answer", 0), charged.pop(LOST, 0)
        faults = sum(charged.values())
        return cls(answers + lost + faults, summary.num_planned, lost, faults)


def format_money(cost: float, prices: str) -> str:
    """Format dollars for the report; "not known" without a price."""
    if prices == "unknown":
        return "not known"
    if 0 < cost < 0.0001:
        return "under $0.0001"
    return f"${cost:,.2f}" if cost >= 100 else f"${cost:,.4f}"


def format_settings(config: SynthesizeCaptionsConfig) -> dict[str, Any]:
    """Return the settings as JSON values, with everything hidden that may be a key.

    A key may have been typed as the variable's name or in an address.
    """
    settings = config.model_dump(mode="json")
    name = config.api_key_env
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        settings["api_key_env"] = HIDDEN
    if config.base_url is not None:
        settings["base_url"] = mask_address(config.base_url)
    return KeyMask(os.environ.get(name, "").strip()).apply(settings)
