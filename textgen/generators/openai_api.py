"""Request bodies, replies and faults of the two OpenAI APIs, without any connection."""

import email.utils
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from close_transfer.core.errors import UserError
from close_transfer.core.secret_texts import KeyMask, find_address_error
from textgen.generators.reply_parts import describe_error, join_parts, unpack_object
from textgen.generators.responses import NO_SCHEMA, TOO_FAST, Reply, RequestError

Api = Literal["responses", "chat"]
PATHS: Mapping[Api, str] = {"responses": "/responses", "chat": "/chat/completions"}
_SCHEMA_NAME = "answer"
_NO_KEY = "none"  # for a local server without keys, because the client requires one

# Codes of a 429, and of other statuses, for which waiting does not help.
_EXHAUSTED = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_UNAVAILABLE = ("model_not_found", "invalid_api_key")
_UNSUPPORTED = ("unsupported_parameter", "unsupported_value")
# Statuses of a refusal that may be the schema's: servers name it in many ways, or not at all.
_REFUSALS = (400, 404, 405, 406, 415, 422, 501)
_OMITTED = "recipe.temperature=null, recipe.top_p=null, seed=null and max_tokens_parameter=null send no such parameter"
_FILTER_CODES = ("content_filter", "content_policy_violation")
# Ends of an answer, in the names of several servers: the token limit, and a filter that stops the model inside a text.
_LENGTH_REASONS = ("length", "max_tokens", "max_output_tokens")
_FILTER_REASONS = ("content_filter", "safety", "recitation", "blocklist", "prohibited_content")
_FILTERED = "the server's content filter ended the answer"
_MAX_COUNT = 10**9  # tokens of one answer; a larger count is a server's mistake


@dataclass(frozen=True)
class Access:
    """Access to a server.

    Attributes:
        base_url: address of the server; None for the provider.
        key: key from the environment; it is never written to a file.
        api: API of the server.
    """

    base_url: str | None
    key: str = field(repr=False)
    api: Api

    @property
    def server(self) -> str:
        """Name of the server for messages and the journal; it contains no secret."""
        return self.base_url or "the provider's own address"

    @cached_property
    def _mask(self) -> KeyMask:
        return KeyMask("" if self.key == _NO_KEY else self.key)

    def mask_key(self, value: Any) -> Any:
        """Return a text, or a JSON value, with the key masked, because some servers repeat it in what they send."""
        return self._mask.apply(value)


def get_access(base_url: str | None, api: Literal["auto", "responses", "chat"], key_variable: str) -> Access:
    """Return the access to a server, with the key from the environment.

    `api=auto` chooses Responses for the provider and Chat Completions for other servers, which all support it.

    Args:
        base_url: address of the server; None for OPENAI_BASE_URL or the provider.
        api: the API.
        key_variable: environment variable with the key.

    Raises:
        UserError: if the provider's key is missing, or the address contains a password or a key.
    """
    base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
    if base_url is not None:
        if fault := find_address_error(base_url, key_variable):
            raise UserError(f"base_url: {fault}")
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"base_url={base_url}: is not an address. Give one such as http://localhost:8000/v1")
    key = os.environ.get(key_variable, "").strip()
    if not key and base_url is None:
        raise UserError(
            f"{key_variable}: is not set. Export it, name another variable with api_key_env=, give the base_url= of a "
            "server that needs no key, or give source=grammar, which needs neither"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(
            f"{key_variable}: contains characters that no key has (spaces, line breaks or accented letters). Set it again"
        )
    chosen_api: Api = ("responses" if base_url is None else "chat") if api == "auto" else api
    return Access(base_url, key or _NO_KEY, chosen_api)


@dataclass(frozen=True)
class Parameters:
    """Parameters of a model, the same for all requests of a corpus; None is not sent.

    Attributes:
        model: name of the model.
        system: system message.
        temperature, top_p: sampling.
        max_output_tokens: token limit of an answer.
        max_tokens_parameter: name under which Chat Completions get it; "auto" for the server's, None to send no limit.
        has_seed: True to send seeds.
    """

    model: str
    system: str | None
    temperature: float | None
    top_p: float | None
    max_output_tokens: int
    max_tokens_parameter: str | None = "auto"
    has_seed: bool = True


def build_request_body(
    prompt: str, parameters: Parameters, schema: Mapping[str, Any] | None, seed: int | None, access: Access
) -> dict[str, Any]:
    """Build the JSON body of a request.

    Args:
        prompt: the prompt.
        parameters: parameters of the model.
        schema: JSON schema of the answer; None for plain text.
        seed: sampling seed; None to send none.
        access: server and API.
    """
    # The provider's reasoning models refuse sampling parameters, even the default values.
    messages = [{"role": "user", "content": prompt}]
    body: dict[str, Any] = {"model": parameters.model}
    is_default_sampling = access.base_url is None and parameters.temperature == 1 and parameters.top_p == 1
    sampling = {"temperature": parameters.temperature, "top_p": parameters.top_p}
    if not is_default_sampling:
        body.update({name: value for name, value in sampling.items() if value is not None})
    limit_name = parameters.max_tokens_parameter
    if access.api == "responses":
        body.update(input=messages, store=False)
        if limit_name is not None:
            body["max_output_tokens"] = parameters.max_output_tokens
        if parameters.system:
            body["instructions"] = parameters.system
        if schema is not None:
            body["text"] = {"format": {"type": "json_schema", "name": _SCHEMA_NAME, "schema": schema, "strict": True}}
        return body
    if parameters.system:
        messages.insert(0, {"role": "system", "content": parameters.system})
    body["messages"] = messages
    if limit_name == "auto":  # compatible servers support the older name, which the provider's newer models refuse
        limit_name = "max_completion_tokens" if access.base_url is None else "max_tokens"
    if limit_name is not None:
        body[limit_name] = parameters.max_output_tokens
    if schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": _SCHEMA_NAME, "schema": schema, "strict": True},
        }
    if seed is not None and parameters.has_seed and access.base_url is not None:
        body["seed"] = seed
    return body


def read_reply(body: Any, api: Api) -> Reply:
    """Read a server's answer.

    Raises:
        RequestError: if it is not an answer, or an empty one; reported usage is charged.
    """
    body = unpack_object(body)
    if body.get("error") and not body.get("choices") and not body.get("output"):  # some servers send it as status 200
        raise RequestError("malformed", "reserved", f"the answer is an error: {describe_error(body['error'])}")
    try:
        usage = body.get("usage")
        reply = (_read_response if api == "responses" else _read_completion)(
            body, usage if isinstance(usage, Mapping) else {}
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RequestError("malformed", "reserved", f"the answer does not follow the API ({error!r})") from None
    if not isinstance(reply.text, str) or not isinstance(reply.refusal, str | None):
        raise RequestError("malformed", "reported", "the answer's text is not a string", reply=reply)
    return reply


def _check_count(tokens: Any) -> int | None:
    """Return a plausible number of tokens, else None, so that the reserve is charged."""
    # JSON's true is an int for Python.
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens <= _MAX_COUNT else None


def _read_completion(body: Mapping[str, Any], usage: Mapping[str, Any]) -> Reply:
    input_tokens, output_tokens = _check_count(usage.get("prompt_tokens")), _check_count(usage.get("completion_tokens"))
    empty_reply = Reply("", None, input_tokens, output_tokens, str(body.get("model") or ""))
    choices = body["choices"]
    if not choices:
        raise RequestError("empty", "reported", "no choices", reply=empty_reply)
    message = choices[0]["message"]
    reason = str(choices[0].get("finish_reason")).lower()
    return Reply(
        join_parts(message.get("content")) or "",
        message.get("refusal")
        or join_parts(message.get("content"), "refusal")
        or (_FILTERED if reason in _FILTER_REASONS else None),
        empty_reply.input_tokens,
        empty_reply.output_tokens,
        empty_reply.model,
        reason in _LENGTH_REASONS,
    )


def _read_response(body: Mapping[str, Any], usage: Mapping[str, Any]) -> Reply:
    texts, refusals = [], []
    for item in body["output"]:
        for part in (item.get("content") or ()) if item.get("type") == "message" else ():
            texts += [part["text"]] if part["type"] == "output_text" else []
            refusals += [part["refusal"]] if part["type"] == "refusal" else []
    is_truncated = body.get("status") == "incomplete"
    reason = str((body.get("incomplete_details") or {}).get("reason")).lower()
    refusals += [_FILTERED] if reason in _FILTER_REASONS and not refusals else []
    reply = Reply(
        "".join(texts),
        " ".join(refusals) or None,
        _check_count(usage.get("input_tokens")),
        _check_count(usage.get("output_tokens")),
        str(body.get("model") or ""),
        is_truncated,
    )
    if not texts and not refusals and not is_truncated:
        raise RequestError("empty", "reported", "no output", reply=reply)
    return reply


def classify_status(
    status: int, message: str, code: str | None, retry_after: float | None, with_schema: bool, is_schema_optional: bool
) -> RequestError:
    """Return the fault for an HTTP status other than 200, which is assumed to cost nothing.

    Args:
        status: the HTTP status.
        message: the server's message.
        code: the server's error code; None if it gave none.
        retry_after: seconds that the server asks to wait; None if it does not.
        with_schema: True if the request had a JSON schema.
        is_schema_optional: True if requests may go without the schema.
    """
    detail = f"HTTP {status}: {message}"
    if status == 429 and code not in _EXHAUSTED:
        return RequestError(TOO_FAST, "no", detail, retry_after=retry_after)
    if status == 401 or code in _EXHAUSTED or code in _UNAVAILABLE:
        return RequestError(str(status), "no", detail, fatal=True)
    if with_schema and status in _REFUSALS and code not in _FILTER_CODES:
        if is_schema_optional:
            return RequestError(NO_SCHEMA, "no", detail, counts=False)
        if is_about_schema(message):
            return RequestError(NO_SCHEMA, "no", f"{detail} (json_schema=text sends no schema)", fatal=True)
    if status in (403, 404):
        return RequestError(str(status), "no", detail, fatal=True)
    if code in _UNSUPPORTED:
        return RequestError(str(status), "no", f"{detail} ({_OMITTED})", fatal=True)
    if status in (408, 409) or status >= 500:
        return RequestError(str(status), "no", detail, retry_after=retry_after)
    return RequestError(str(status), "no", detail, retry=False)


def is_about_schema(message: str) -> bool:
    """Return True if a server's message names the schema."""
    return any(word in message.lower() for word in ("response_format", "json_schema", "schema", "text.format"))


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds from now that a server asks to wait (RFC 9110, section 10.2.3); None if it does not."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with suppress(ValueError):
            seconds = float(value) * unit
            return max(0.0, seconds) if math.isfinite(seconds) else None
        with suppress(ValueError, OverflowError):  # a date beyond the clock's range
            date = email.utils.parsedate_tz(value)
            if date is not None:
                return max(0.0, email.utils.mktime_tz(date) - time.time())
    return None
