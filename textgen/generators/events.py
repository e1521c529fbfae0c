"""Journal events of finished attempts."""

from collections.abc import Mapping
from typing import Any

from textgen.config import RecipeSettings
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import Price
from textgen.generators.response_parser import Unusable, make_storable, parse_items
from textgen.generators.responses import Reply, RequestError, read_usage_fields

_MAX_DETAIL = 300  # characters of a server's message in the journal
# More characters than any text has per token: tokenizers have tokens of up to 128 spaces or dashes, but no text of them.
_CHARACTERS_PER_TOKEN = 64
# Times the reserve that an attempt may cost. Servers that ignore the token limit, or let the model reason beyond it, report
# many times the reserve, and it is true; beyond this factor a captioning answer would have tens of thousands of tokens.
_MAX_TIMES_RESERVE = 100


def count_max_characters(max_output_tokens: int) -> int:
    """Return the largest number of characters of an answer that is read, generously, for its token limit."""
    return _CHARACTERS_PER_TOKEN * max_output_tokens


def find_usage_fault(reply: Reply, reserve: Spend) -> str | None:
    """Return why a reported usage cannot be true; None if it can, or if no usage was reported.

    Args:
        reply: the server's reply.
        reserve: the most that the attempt can cost; no tokens for a model that counts its own.
    """
    if reply.input_tokens is None or reply.output_tokens is None or not reserve.tokens:
        return None
    is_too_low = reply.input_tokens < 1 or reply.output_tokens * _CHARACTERS_PER_TOKEN < len(reply.text)
    is_too_high = reply.input_tokens + reply.output_tokens > _MAX_TIMES_RESERVE * reserve.tokens
    if not is_too_low and not is_too_high:
        return None
    return (
        f"{reply.input_tokens:,} input and {reply.output_tokens:,} output tokens for an answer of {len(reply.text):,} "
        f"characters, for which {reserve.tokens:,} tokens were reserved"
    )


def _charge(reply: Reply | None, price: Price, reserve: Spend) -> dict[str, Any]:
    """Return the spend that the server reported, or the reserve if it reported none, or one that cannot be true."""
    if reply is None or reply.input_tokens is None or reply.output_tokens is None:
        return {"paid": "reserved", **reserve._asdict()}
    if fault := find_usage_fault(reply, reserve):
        return {"paid": "reserved", "usage_not_believed": fault, **reserve._asdict()}
    spent = price.compute_spend(reply.input_tokens, reply.output_tokens)
    return {"paid": "reported", **read_usage_fields(reply), **spent._asdict()}


def _ends_within(text: str, item: Mapping[str, str]) -> bool:
    """Return True if an answer ends inside this item, and not after it, for instance in JSON's closing brackets."""
    return " ".join(make_storable(text).split()).endswith(list(item.values())[-1])


def make_answer_event(
    request: str,
    attempt: int,
    reply: Reply,
    recipe: RecipeSettings,
    price: Price,
    reserve: Spend,
    max_output_tokens: int,
) -> dict[str, Any]:
    """Make the event of a reply with items, or of a refusal; both are final.

    Args:
        request: id of the request.
        attempt: number of the attempt, counted from 1.
        reply: the server's reply.
        recipe: recipe, which decides the shape of an item.
        price: price of the model's tokens.
        reserve: the most that the attempt can cost.
        max_output_tokens: token limit of the answer, which bounds the characters that are read.

    Raises:
        RequestError: if the reply has neither items nor a refusal.
    """
    model = make_storable(reply.model[:_MAX_DETAIL])
    event = {"event": "answer", "id": request, "attempt": attempt, "model": model}
    if reply.refusal:
        return {
            **event,
            "items": [],
            "refusal": make_storable(reply.refusal[:_MAX_DETAIL]),
            **_charge(reply, price, reserve),
        }
    max_characters = count_max_characters(max_output_tokens)
    if len(reply.text) > max_characters:
        reason = f"the answer has {len(reply.text):,} characters; {max_characters:,} are read for {max_output_tokens:,} tokens"
        raise RequestError("too long", "reported", reason, reply=reply)
    try:
        items = parse_items(reply.text, recipe)
    except Unusable as error:
        kind = "cut short" if reply.is_truncated else "wrong shape" if reply.text.strip() else "empty"
        raise RequestError(kind, "reported", str(error), reply=reply) from None
    except Exception as error:  # a mistake of the parser costs this answer, not the run
        raise RequestError("parser error", "reported", f"{type(error).__name__}: {error}", reply=reply) from error
    if reply.is_truncated and _ends_within(reply.text, items[-1]):
        event["cut"] = True
    return {**event, "items": items, **_charge(reply, price, reserve)}


def make_fault_event(request: str, attempt: int, fault: RequestError, price: Price, reserve: Spend) -> dict[str, Any]:
    """Make the event of an attempt without a usable answer, with its charge."""
    event = {"event": "fault", "id": request, "attempt": attempt, "fault": fault.kind}
    if fault.detail:
        event["detail"] = make_storable(fault.detail[:_MAX_DETAIL])
    if fault.paid == "no":
        return {**event, "paid": "no"}
    return {**event, **_charge(fault.reply if fault.paid == "reported" else None, price, reserve)}
