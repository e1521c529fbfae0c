"""What comes back from a server for one request: a reply, or a fault that says what was paid for it."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

# "no": the server did not take the request; "reported": it told the usage; "reserved": it may have answered, and did
# not tell, so the most that it can have cost is charged.
Paid = Literal["no", "reported", "reserved"]

# Kinds of faults that say nothing about the request: no server was found, it takes no JSON schema, or it was asked
# too fast.
NO_CONNECTION, NO_SCHEMA, TOO_FAST = "no connection", "no schema", "429"


@dataclass(frozen=True)
class Reply:
    """A server's answer.

    Attributes:
        text: what the model wrote.
        refusal: what it said instead, where the server tells a refusal from an answer.
        input_tokens, output_tokens: as the server counted; None if it did not tell.
        model: the server's name for it.
        cut: whether the model was stopped by max_output_tokens.
    """

    text: str
    refusal: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str = ""
    is_truncated: bool = False


class RequestError(Exception):
    """An attempt without a usable answer."""

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
        """Describes the attempt.

        Args:
            kind: for people and for the report's table.
            paid: what to charge.
            detail: what the server said.
            retry: whether asking again may help.
            retry_after: seconds that the server wants everybody to wait.
            counts: whether it is one of the attempts a request has.
            fatal: whether every other request would fare the same.
            reply: with the usage, where paid is "reported".
        """
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.paid, self.detail = kind, paid, detail
        self.retry, self.retry_after, self.counts, self.fatal, self.reply = retry, retry_after, counts, fatal, reply


class Client(Protocol):
    """A server that is asked one prompt at a time."""

    server: str

    async def ask(self, prompt: str, seed: int) -> Reply:
        """One attempt. Raises `RequestError`."""
        ...

    def request_texts(self, prompt: str) -> tuple[str | None, ...]:
        """All texts of a request that a server counts as input."""
        ...

    async def close(self) -> None:
        """Ends connections."""
        ...


def read_usage_fields(reply: Reply | None) -> dict[str, Any]:
    """A journal's fields of what the server counted."""
    if reply is None or reply.input_tokens is None or reply.output_tokens is None:
        return {}
    return {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
