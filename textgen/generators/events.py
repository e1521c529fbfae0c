"""The journal's events of an attempt that came to an end."""

from collections.abc import Mapping
from typing import Any

from textgen.config import RecipeSettings
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import Price
from textgen.generators.response_parser import Unusable, make_storable, parse_items
from textgen.generators.responses import Reply, RequestError, read_usage_fields

_LONGEST_DETAIL = 300


def _charge(reply: Reply | None, price: Price, reserve: Spend) -> dict[str, Any]:
    """What the server said it used, or else the most it can have."""
    if reply is None or reply.input_tokens is None or reply.output_tokens is None:
        return {"paid": "reserved", **reserve._asdict()}
    spent = price.compute_spend(reply.input_tokens, reply.output_tokens)
    return {"paid": "reported", **read_usage_fields(reply), **spent._asdict()}


def _ends_within(text: str, item: Mapping[str, str]) -> bool:
    """Whether an answer ends in its last item, and not behind it, in JSON's brackets or in what is not part of any."""
    return " ".join(make_storable(text).split()).endswith(list(item.values())[-1])


def answer_event(
    request: str, attempt: int, reply: Reply, recipe: RecipeSettings, price: Price, reserve: Spend
) -> dict[str, Any]:
    """The event of a reply that holds items, or says that the model declines; both are final.

    Raises:
        RequestError: if it holds neither.
    """
    event = {"event": "answer", "id": request, "attempt": attempt, "model": make_storable(reply.model)}
    if reply.refusal:
        return {
            **event,
            "items": [],
            "refusal": make_storable(reply.refusal)[:_LONGEST_DETAIL],
            **_charge(reply, price, reserve),
        }
    try:
        items = parse_items(reply.text, recipe)
    except Unusable as error:
        kind = "cut short" if reply.is_truncated else "wrong shape" if reply.text.strip() else "empty"
        raise RequestError(kind, "reported", str(error), reply=reply) from None
    if reply.is_truncated and _ends_within(reply.text, items[-1]):
        event["cut"] = True
    return {**event, "items": items, **_charge(reply, price, reserve)}


def make_fault_event(request: str, attempt: int, fault: RequestError, price: Price, reserve: Spend) -> dict[str, Any]:
    """The event of an attempt without a usable answer, with what it may have cost."""
    event = {"event": "fault", "id": request, "attempt": attempt, "fault": fault.kind}
    if fault.detail:
        event["detail"] = make_storable(fault.detail)[:_LONGEST_DETAIL]
    if fault.paid == "no":
        return {**event, "paid": "no"}
    return {**event, **_charge(fault.reply if fault.paid == "reported" else None, price, reserve)}
