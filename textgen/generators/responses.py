"""Outcome of one attempt: a reply, or a fault with its charge; and the protocol of a server's client."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

# Charge of an attempt. "no": the server did not accept the request. "reported": the server reported the usage.
# "reserved": the server may have answered without reporting the usage, so the most that it can cost is charged.
Paid = Literal["no", "reported", "reserved"]

# Kinds of faults that do not depend on the request: no server was found, the server does not support JSON schemas, or
# requests came too fast; and a page of a website in place of an answer.
NO_CONNECTION, NO_SCHEMA, TOO_FAST, WEB_PAGE = "no connection", "no schema", "429", "web page"
UNREADABLE = ("truncated", "malformed", "unreadable body")  # kinds of faults without any answer of the API


@dataclass(frozen=True)
class Reply:
    """Answer of a server.

    Attributes:
        text: text of the model.
        refusal: text of a refusal, if the server marks it as one.
        input_tokens, output_tokens: the server's counts; None if it reported none.
        model: the server's name for the model.
        is_truncated: True if max_output_tokens ended the answer.
    """

    text: str
    refusal: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str = ""
    is_truncated: bool = False


class RequestError(Exception):
    """Failed attempt: no usable answer."""

    def __init__(
        self,
        kind: str,
        paid: Paid,
        detail: str = "",
        *,
        retry: bool = True,
        retry_after: float | None = None,
        counts: bool = True,
        fatal: bool = False,
        reply: Reply | None = None,
    ) -> None:
        """Describe the attempt.

        Args:
            kind: kind of fault, for messages and the report's table.
            paid: charge of the attempt.
            detail: message of the server.
            retry: True if another attempt may succeed.
            retry_after: seconds that all requests should wait, if the server names a time.
            counts: True if the attempt counts towards `max_attempts`.
            fatal: True if every other request would fail in the same way.
            reply: reply with the usage, if `paid` is "reported".
        """
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.paid, self.detail = kind, paid, detail
        self.retry, self.retry_after, self.counts, self.fatal, self.reply = retry, retry_after, counts, fatal, reply


class Client(Protocol):
    """Client of a server that takes one prompt per request."""

    server: str

    async def ask(self, prompt: str, seed: int) -> Reply:
        """Send a prompt once; raise `RequestError` if no usable answer comes."""
        ...

    def list_request_texts(self, prompt: str) -> tuple[str | None, ...]:
        """Return all texts of a request that the server counts as input."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def read_usage_fields(reply: Reply | None) -> dict[str, Any]:
    """Return the journal's fields for the usage that the server reported; empty if it reported none."""
    if reply is None or reply.input_tokens is None or reply.output_tokens is None:
        return {}
    return {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
