"""Parts of a server's answer that servers write in several ways: its body, its text and its error."""

import json
from collections.abc import Mapping
from typing import Any

from textgen.generators.responses import WEB_PAGE, RequestError
from textgen.generators.server_words import extract_words, is_web_page


def unpack_body(body: Any) -> Any:
    """Return the JSON value of a body that was sent as text, because some servers name another content type."""
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body


def unpack_object(body: Any) -> Mapping[str, Any]:
    """Return the object in a body that is the server's answer.

    Raises:
        RequestError: if it is something else, with the words of a text or a web page.
    """
    value = unpack_body(body)
    if isinstance(value, Mapping):
        return value
    if isinstance(value, str) and is_web_page(value):
        raise RequestError(WEB_PAGE, "reserved", f"the server gives {extract_words(value)}")
    words = f": {extract_words(body) or 'nothing'}" if isinstance(body, str) else ""
    raise RequestError("truncated", "reserved", f"the answer is not a JSON object{words}")


def join_parts(content: Any, kind: str = "text") -> Any:
    """Return the content of a message as one string if it is a list of parts.

    Args:
        content: content of a message.
        kind: field of the parts to join, "text" or "refusal"; other parts, such as thoughts, are left out.
    """
    if not isinstance(content, list):
        return content if kind == "text" else None
    texts = [part if isinstance(part, str) and kind == "text" else None for part in content]
    for place, part in enumerate(content):
        if isinstance(part, Mapping) and part.get("type", kind) in (kind, f"output_{kind}"):
            texts[place] = part[kind]
    return "".join(filter(None, texts))


def unwrap_error(body: Any) -> Any:
    """Return the error in the body of a refusal: the field `error`, in a list or not, or the whole body."""
    while isinstance(body, list) and len(body) == 1:
        body = body[0]
    return (body.get("error") or body) if isinstance(body, Mapping) else body


def describe_error(error: Any) -> str:
    """Return the words of an error that a server sent, in any form."""
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("code") or error.get("type") or error
    if isinstance(error, str):
        return error
    try:
        return json.dumps(error, ensure_ascii=False, default=str)
    except RecursionError:
        return "an error that is nested too deeply"


def get_error_code(error: Any) -> str | None:
    """Return the code of an error, None if it has none."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, str) else None
