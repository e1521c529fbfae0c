"""What the two OpenAI APIs want and give: request bodies, answers, faults. No connection is made here."""

import email.utils
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from close_transfer.core.errors import UserError
from textgen.generators.responses import NO_SCHEMA, TOO_FAST, Reply, RequestError

Api = Literal["responses", "chat"]
PATHS: Mapping[Api, str] = {"responses": "/responses", "chat": "/chat/completions"}
_SCHEMA_NAME = "answer"
_MASK = "[key]"
_NO_KEY = "none"  # what a local server without keys is given, as the client wants one

# Codes of a 429 and of a 400 that no waiting mends.
_EXHAUSTED = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_MOST_TOKENS = 10**9  # of one answer, that a server is believed to have counted
_UNAVAILABLE = ("model_not_found", "invalid_api_key", "unsupported_parameter", "unsupported_value")


@dataclass(frozen=True)
class Access:
    """Where and with what key is asked.

    Attributes:
        base_url: of the server; None is the provider's own.
        key: from the environment; never written anywhere.
        api: which of the two APIs.
    """

    base_url: str | None
    key: str
    api: Api

    @property
    def server(self) -> str:
        """The server as it may be told to anyone."""
        return self.base_url or "the provider's own address"

    def masked(self, text: str) -> str:
        """A text without the key, as some servers repeat it in their messages."""
        return text.replace(self.key, _MASK) if self.key not in ("", _NO_KEY) else text


def get_access(base_url: str | None, api: Literal["auto", "responses", "chat"], key_variable: str) -> Access:
    """The server, and the key from the environment.

    The provider is asked by Responses, compatible servers by Chat Completions, which all of them have.

    Raises:
        UserError: if the provider is asked without a key, or the address holds a password.
    """
    base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
    if base_url is not None:
        parts = urlsplit(base_url)
        if parts.username or parts.password:
            raise UserError(f"base_url: contains a user or password. Leave it out, and put the key into {key_variable}")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"base_url={base_url}: is not an address. Give one such as http://localhost:8000/v1")
    key = os.environ.get(key_variable, "").strip()
    if not key and base_url is None:
        raise UserError(
            f"{key_variable}: is not set; export it, name another variable with api_key_env=, give base_url= of a server "
            "of your own, or take source=grammar, which needs neither"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(
            f"{key_variable}: holds what no key can (spaces, line breaks or letters with accents); set it again"
        )
    chosen_api: Api = ("responses" if base_url is None else "chat") if api == "auto" else api
    return Access(base_url, key or _NO_KEY, chosen_api)


@dataclass(frozen=True)
class Parameters:
    """How a model is asked, the same for all requests of a corpus."""

    model: str
    system: str | None
    temperature: float
    top_p: float
    max_output_tokens: int


def build_request_body(
    prompt: str, parameters: Parameters, schema: Mapping[str, Any] | None, seed: int | None, access: Access
) -> dict[str, Any]:
    """The JSON body of one request; without a `schema` the answer is plain text.

    Sampling at the provider's defaults is not spelt out there, as its reasoning models refuse the parameters.
    """
    messages = [{"role": "user", "content": prompt}]
    body: dict[str, Any] = {"model": parameters.model}
    is_default_sampling = access.base_url is None and parameters.temperature == 1 and parameters.top_p == 1
    if not is_default_sampling:
        body.update(temperature=parameters.temperature, top_p=parameters.top_p)
    if access.api == "responses":
        body.update(input=messages, max_output_tokens=parameters.max_output_tokens, store=False)
        if parameters.system:
            body["instructions"] = parameters.system
        if schema is not None:
            body["text"] = {"format": {"type": "json_schema", "name": _SCHEMA_NAME, "schema": schema, "strict": True}}
        return body
    if parameters.system:
        messages.insert(0, {"role": "system", "content": parameters.system})
    # Compatible servers know the older name; the provider's newer models refuse it.
    limit_name = "max_completion_tokens" if access.base_url is None else "max_tokens"
    body.update({"messages": messages, limit_name: parameters.max_output_tokens})
    if schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": _SCHEMA_NAME, "schema": schema, "strict": True},
        }
    if seed is not None and access.base_url is not None:
        body["seed"] = seed
    return body


def read_reply(body: Any, api: Api) -> Reply:
    """A server's answer.

    Raises:
        RequestError: if it is none, or holds nothing; what was reported of its usage is charged.
    """
    if not isinstance(body, Mapping):
        raise RequestError("truncated", "reserved", "the answer is no JSON")
    try:
        usage = body.get("usage")
        reply = (_read_response if api == "responses" else _read_completion)(
            body, usage if isinstance(usage, Mapping) else {}
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RequestError("malformed", "reserved", f"the answer is not as the API says ({error!r})") from None
    if not isinstance(reply.text, str) or not isinstance(reply.refusal, str | None):
        raise RequestError("malformed", "reported", "the answer's text is no text", reply=reply)
    return reply


def _check_count(tokens: Any) -> int | None:
    """A number of tokens; None for what is none, so that the reserve is charged."""
    return tokens if isinstance(tokens, int) and 0 <= tokens <= _MOST_TOKENS else None


def _read_completion(body: Mapping[str, Any], usage: Mapping[str, Any]) -> Reply:
    input_tokens, output_tokens = _check_count(usage.get("prompt_tokens")), _check_count(usage.get("completion_tokens"))
    empty_reply = Reply("", None, input_tokens, output_tokens, str(body.get("model") or ""))
    choices = body["choices"]
    if not choices:
        raise RequestError("empty", "reported", "no choices", reply=empty_reply)
    message = choices[0]["message"]
    return Reply(
        message.get("content") or "",
        message.get("refusal") or None,
        empty_reply.input_tokens,
        empty_reply.output_tokens,
        empty_reply.model,
        choices[0].get("finish_reason") == "length",
    )


def _read_response(body: Mapping[str, Any], usage: Mapping[str, Any]) -> Reply:
    texts, refusals = [], []
    for item in body["output"]:
        for part in (item.get("content") or ()) if item.get("type") == "message" else ():
            texts += [part["text"]] if part["type"] == "output_text" else []
            refusals += [part["refusal"]] if part["type"] == "refusal" else []
    cut = body.get("status") == "incomplete"
    reply = Reply(
        "".join(texts),
        " ".join(refusals) or None,
        _check_count(usage.get("input_tokens")),
        _check_count(usage.get("output_tokens")),
        str(body.get("model") or ""),
        cut,
    )
    if not texts and not refusals and not cut:
        raise RequestError("empty", "reported", "no output", reply=reply)
    return reply


def classify_status(
    status: int, message: str, code: str | None, retry_after: float | None, with_schema: bool, schema_optional: bool
) -> RequestError:
    """The fault of an HTTP status other than 200; the server took no such request, so none is paid for."""
    detail = f"HTTP {status}: {message}"
    if status == 429 and code not in _EXHAUSTED:
        return RequestError(TOO_FAST, "no", detail, retry_after=retry_after)
    if status in (401, 403, 404) or code in _EXHAUSTED or code in _UNAVAILABLE:
        return RequestError(str(status), "no", detail, fatal=True)
    if status in (400, 422) and with_schema and _is_about_schema(message):
        if schema_optional:
            return RequestError(NO_SCHEMA, "no", detail, counts=False)
        return RequestError(NO_SCHEMA, "no", f"{detail} (json_schema=text asks without one)", fatal=True)
    if status in (408, 409) or status >= 500:
        return RequestError(str(status), "no", detail, retry_after=retry_after)
    return RequestError(str(status), "no", detail, retry=False)


def _is_about_schema(message: str) -> bool:
    return any(word in message.lower() for word in ("response_format", "json_schema", "schema", "text.format"))


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, section 10.2.3), from now; None if it does not."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with suppress(ValueError):
            seconds = float(value) * unit
            return max(0.0, seconds) if math.isfinite(seconds) else None
        with suppress(ValueError, OverflowError):  # of years that no clock has
            date = email.utils.parsedate_tz(value)
            if date is not None:
                return max(0.0, email.utils.mktime_tz(date) - time.time())
    return None
