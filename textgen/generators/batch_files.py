"""The files of the Batch API: requests written within its limits, results read whatever their order."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from close_transfer.core.errors import UserError
from textgen.config import BatchSettings
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import Price, bound_tokens
from textgen.generators.async_client import Limits
from textgen.generators.openai_api import PATHS, Access, Parameters, build_request_body, classify_status, read_reply
from textgen.generators.responses import Reply, RequestError
from textgen.prompts.recipe import Request
from textgen.text.hashing import to_canonical_json


@dataclass(frozen=True)
class Line:
    """One request of a batch, with the most that it can cost."""

    id: str
    reserve: Spend
    text: str


@dataclass(frozen=True)
class LineWriter:
    """Writes requests as lines of a batch's file.

    Attributes:
        schema: of the answers; None asks for plain text.
        schema_optional: whether a provider's refusal of the schema ends its use.
    """

    access: Access
    parameters: Parameters
    schema: Mapping[str, Any] | None
    schema_optional: bool
    price: Price
    prompt: Callable[[Request], str]

    def line(self, request: Request) -> Line:
        """The line of a request, with its end."""
        prompt = self.prompt(request)
        body = build_request_body(prompt, self.parameters, self.schema, request.seed, self.access)
        record = {"custom_id": request.id, "method": "POST", "url": f"/v1{PATHS[self.access.api]}", "body": body}
        schema = to_canonical_json(self.schema) if self.schema is not None else None
        max_tokens = bound_tokens(prompt, self.parameters.system, schema)
        reserve = self.price.compute_spend(max_tokens, self.parameters.max_output_tokens)
        return Line(request.id, reserve, json.dumps(record, ensure_ascii=False) + "\n")


def split_into_files(lines: Iterable[Line], settings: BatchSettings) -> Iterator[list[Line]]:
    """Lines in order, in files of at most `max_requests` lines and `max_bytes` bytes.

    Raises:
        UserError: if one line alone is larger.
    """
    file: list[Line] = []
    size = 0
    for line in lines:
        length = len(line.text.encode())
        if length > settings.max_bytes:
            raise UserError(f"batch.max_bytes={settings.max_bytes}: one request alone has {length:,} bytes; raise it")
        if file and (len(file) >= settings.max_requests or size + length > settings.max_bytes):
            yield file
            file, size = [], 0
        file.append(line)
        size += length
    if file:
        yield file


def select_affordable(
    lines: Iterable[Line], committed: Spend, limits: Limits, stopped: Callable[[str], None]
) -> Iterator[Line]:
    """The lines that the caps allow, if each costs the most it can; `stopped` is told the cap that ends it."""
    for line in lines:
        committed = committed.plus(line.reserve)
        if cap := limits.find_reached(committed):
            stopped(cap)
            return
        yield line


def read_result_lines(text: str) -> Iterator[str]:
    """The lines of an output or error file; JSON may hold other characters that Python takes for line ends."""
    return (stripped for line in text.split("\n") if (stripped := line.strip()))


def read_result(line: str, access: Access, schema_optional: bool) -> tuple[str, Reply | RequestError]:
    """The id and outcome of one line of an output or error file; the id is empty where there is none."""
    try:
        record = json.loads(line)
        request = str(record["custom_id"])
    except (ValueError, KeyError, TypeError):
        return "", RequestError("malformed", "reserved", "a line of the results is no JSON with a custom_id")
    error, response = record.get("error") or {}, record.get("response") or {}
    status = response.get("status_code")
    try:
        if status == 200:
            return request, read_reply(response.get("body"), access.api)
        if error.get("code") == "batch_expired":
            raise RequestError("batch expired", "no", "the provider did not come to it within a day")
        body = response.get("body")
        error_fields = (body.get("error") if isinstance(body, Mapping) else None) or error
        message = access.masked(str(error_fields.get("message") or "no reason given"))
        raise classify_status(int(status or 500), message, error_fields.get("code"), None, True, schema_optional)
    except RequestError as fault:
        return request, fault
