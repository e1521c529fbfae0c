"""Files of the Batch API: requests within its size limits, and results in any order."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from close_transfer.core.errors import UserError
from textgen.config import BatchSettings
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import Price, bound_tokens
from textgen.generators.limits import Limits
from textgen.generators.openai_api import PATHS, Access, Parameters, build_request_body, classify_status, read_reply
from textgen.generators.reply_parts import describe_error, get_error_code, unpack_body, unwrap_error
from textgen.generators.responses import Reply, RequestError
from textgen.generators.server_words import extract_words
from textgen.prompts.recipe import Request
from textgen.text.hashing import to_canonical_json


@dataclass(frozen=True)
class Line:
    """Line of a batch file.

    Attributes:
        id: id of the request.
        reserve: the most that the request can cost.
        text: the line itself, with its line end.
    """

    id: str
    reserve: Spend
    text: str


@dataclass(frozen=True)
class LineWriter:
    """Writer of requests as lines of a batch file.

    Attributes:
        access: server and key.
        parameters: parameters of the model.
        schema: JSON schema of the answers; None asks for plain text.
        is_schema_optional: True if requests may go without the schema after the provider refused it.
        price: price of the model's tokens.
        render_prompt: function of a request; returns its prompt.
    """

    access: Access
    parameters: Parameters
    schema: Mapping[str, Any] | None
    is_schema_optional: bool
    price: Price
    render_prompt: Callable[[Request], str]

    def make_line(self, request: Request) -> Line:
        """Make the line of a request."""
        prompt = self.render_prompt(request)
        body = build_request_body(prompt, self.parameters, self.schema, request.seed, self.access)
        record = {"custom_id": request.id, "method": "POST", "url": f"/v1{PATHS[self.access.api]}", "body": body}
        schema = to_canonical_json(self.schema) if self.schema is not None else None
        max_tokens = bound_tokens(prompt, self.parameters.system, schema)
        reserve = self.price.compute_spend(max_tokens, self.parameters.max_output_tokens)
        return Line(request.id, reserve, json.dumps(record, ensure_ascii=False) + "\n")


def split_into_files(lines: Iterable[Line], settings: BatchSettings) -> Iterator[list[Line]]:
    """Split lines, in order, into files of at most `max_requests` lines and `max_bytes` bytes.

    Raises:
        UserError: if one line alone is larger.
    """
    file: list[Line] = []
    size = 0
    for line in lines:
        length = len(line.text.encode())
        if length > settings.max_bytes:
            raise UserError(f"batch.max_bytes={settings.max_bytes}: one request alone has {length:,} bytes. Raise it")
        if file and (len(file) >= settings.max_requests or size + length > settings.max_bytes):
            yield file
            file, size = [], 0
        file.append(line)
        size += length
    if file:
        yield file


def select_affordable(
    lines: Iterable[Line], committed: Spend, limits: Limits, on_cap: Callable[[str], None]
) -> Iterator[Line]:
    """Yield lines as long as the caps hold even if each costs the most it can.

    Args:
        lines: lines in order.
        committed: spend so far and reserved cost in flight.
        limits: the caps.
        on_cap: function called with the cap that ended the selection, if one did.
    """
    for line in lines:
        committed = committed.plus(line.reserve)
        if cap := limits.find_reached(committed):
            on_cap(cap)
            return
        yield line


def split_result_lines(text: str) -> Iterator[str]:
    """Yield the non-empty lines of an output or error file."""
    # Not `splitlines`: texts in JSON may contain other characters that Python takes for line ends.
    return (stripped for line in text.split("\n") if (stripped := line.strip()))


def read_result(line: str, access: Access, is_schema_optional: bool) -> tuple[str, Reply | RequestError]:
    """Return the request's id and the outcome in a line of an output or error file; the id is empty if it has none."""
    try:
        record = access.mask_key(json.loads(line))
        request = str(record["custom_id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", RequestError("malformed", "reserved", "a line of the results is not JSON with a custom_id")
    error, response = record.get("error"), record.get("response") or {}
    try:
        if get_error_code(error) == "batch_expired":
            raise RequestError("batch expired", "no", "the provider did not process it within a day")
        if not isinstance(response, Mapping):
            raise RequestError("malformed", "reserved", "the line's response is not an object")
        status, body = _read_status(response.get("status_code"), bool(error)), unpack_body(response.get("body"))
        if status == 200:
            return request, read_reply(body, access.api)
        error = unwrap_error(body) or error or "no reason given"
        message = extract_words(describe_error(error))
        raise classify_status(status, message, get_error_code(error), None, True, is_schema_optional)
    except RequestError as fault:
        return request, fault


def _read_status(status: Any, has_error: bool) -> int:
    """Return the HTTP status of a line; one without any is a server's error if the line has an error.

    Raises:
        RequestError: if it is not a status, so that it is not known if the request was accepted.
    """
    if status is None and has_error:
        return 500
    is_number = isinstance(status, int | str) and not isinstance(status, bool) and str(status).isdecimal()
    if not is_number or not 100 <= int(str(status)[:9]) < 600:
        raise RequestError("malformed", "reserved", f"the line's status is {str(status)[:20]!r}")
    return int(status)


@dataclass
class Results:
    """Results of a batch.

    Attributes:
        outcomes: outcome of each request that has a line; of several lines, the first answer, else the first fault.
        num_ignored: number of lines that match no request, or repeat one.
        num_malformed: number of lines that do not follow the API.
    """

    outcomes: dict[str, Reply | RequestError] = field(default_factory=dict)
    num_ignored: int = 0
    num_malformed: int = 0

    def add(self, request: str, outcome: Reply | RequestError, expected: Collection[str]) -> None:
        """Add the outcome of a line if its request is `expected`."""
        self.num_malformed += isinstance(outcome, RequestError) and outcome.kind == "malformed"
        is_first = request not in self.outcomes
        if request not in expected or not is_first:
            self.num_ignored += 1
        is_better = isinstance(self.outcomes.get(request), RequestError) and isinstance(outcome, Reply)
        if request in expected and (is_first or is_better):
            self.outcomes[request] = outcome
