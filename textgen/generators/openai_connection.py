"""Clients of the `openai` library that never follow a redirect, and the faults of their answers."""

from collections.abc import Callable
from urllib.parse import urljoin

import openai

from close_transfer.core.secret_texts import mask_address
from textgen.generators.bounded_http import make_async_http_client, make_http_client
from textgen.generators.openai_api import Access, classify_status, parse_retry_after
from textgen.generators.reply_parts import describe_error, get_error_code, unwrap_error
from textgen.generators.responses import RequestError
from textgen.generators.server_words import extract_words


def make_client(access: Access, timeout: float, get_max_bytes: Callable[[], int]) -> openai.OpenAI:
    """Make a client that waits for each answer; it makes no connection yet.

    Args:
        access: server and key.
        timeout: seconds for one attempt.
        get_max_bytes: returns the largest size of the next answer.
    """
    # No retries by the library: the caller counts them.
    return openai.OpenAI(
        api_key=access.key,
        base_url=access.base_url,
        max_retries=0,
        timeout=timeout,
        http_client=make_http_client(get_max_bytes, timeout=timeout, follow_redirects=False),
    )


def make_async_client(access: Access, timeout: openai.Timeout, max_bytes: int) -> openai.AsyncOpenAI:
    """Make a client for many requests at a time; it makes no connection yet.

    Args:
        access: server and key.
        timeout: time limits of one attempt.
        max_bytes: largest size of an answer.
    """
    # One open connection per request in flight; the client's own limits are 1,000 and 100 kept open.
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=None, max_keepalive_connections=None)
    return openai.AsyncOpenAI(
        api_key=access.key,
        base_url=access.base_url,
        max_retries=0,
        timeout=timeout,
        http_client=make_async_http_client(max_bytes, limits=limits, timeout=timeout, follow_redirects=False),
    )


def classify_error(
    error: openai.APIStatusError, access: Access, *, with_schema: bool, is_schema_optional: bool
) -> RequestError:
    """Return the fault for an answer with another HTTP status than 200.

    Args:
        error: the client's error.
        access: server and key.
        with_schema: True if the request had a JSON schema.
        is_schema_optional: True if requests may go without the schema.
    """
    if 300 <= error.status_code < 400:
        return _make_redirect_error(error, access)
    # The body's words, because the client's message has none of a body that follows another API than its own.
    fields = unwrap_error(error.body)
    message = extract_words(access.mask_key(describe_error(fields) if fields else error.message))
    code = get_error_code(fields) or error.code
    retry_after = parse_retry_after(error.response.headers)
    return classify_status(error.status_code, message, code, retry_after, with_schema, is_schema_optional)


def _make_redirect_error(error: openai.APIStatusError, access: Access) -> RequestError:
    """Return the fault for a redirect, which is not followed: the prompts, and maybe the key, would go elsewhere."""
    location = error.response.headers.get("location", "")
    try:
        address = access.mask_key(mask_address(urljoin(str(error.request.url), location))) if location else "no address"
    except ValueError:
        address = "what is not an address"
    return RequestError(
        str(error.status_code),
        "no",
        f"HTTP {error.status_code}: the server redirects to {address}, and redirects are never followed. Give base_url= "
        "with the address that answers, if you trust it",
        fatal=True,
    )
