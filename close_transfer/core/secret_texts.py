"""Keys and passwords in texts and addresses: masks, and the check that an address holds none."""

import html
import json
import re
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

HIDDEN = "[hidden]"
_MASK = "[key]"
_MIN_KEY_LENGTH = 8  # a shorter value is not a real key, and hiding it could mangle ordinary words

# Keys of OpenAI, Hugging Face, GitHub and AWS.
KEY_PATTERN = re.compile(r"\b(?:sk-|hf_|gh[pousr]_|github_pat_|AKIA)[\w-]{8,}")


class KeyMask:
    """Mask of one key in texts of a server, which may repeat the key in any place and form."""

    def __init__(self, key: str) -> None:
        """Prepare the mask of `key`; the mask of an empty key changes nothing."""
        self._pattern: re.Pattern[str] | None = None
        if not key:
            return
        # As it is, in an address, in JSON and in HTML; the longest form first, because a form may begin another one.
        forms = {key, quote(key, safe=""), json.dumps(key)[1:-1], html.escape(key)}
        any_form = "|".join(re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form)))
        # A short key is masked only behind the name of its scheme.
        scheme = r"bearer(?:\s|%20|\+)+" if len(key) < _MIN_KEY_LENGTH else r"(?:bearer(?:\s|%20|\+)+)?"
        self._pattern = re.compile(f"{scheme}(?:{any_form})", re.IGNORECASE)

    def apply(self, value: Any) -> Any:
        """Return a JSON value with the key masked in all of its texts and names."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(_MASK, value)
        if isinstance(value, dict):
            return {self.apply(name): self.apply(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.apply(item) for item in value]
        return value


def mask_address(address: str) -> str:
    """Return an address without user, password, query and fragment, which may hold keys."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, KEY_PATTERN.sub(_MASK, parts.path), "", ""))


def find_address_error(address: str, key_variable: str) -> str:
    """Return the reason why an address may not be a setting, without quoting it; empty if it may.

    Settings are written to files, so an address must not hold a key.

    Args:
        address: address of a server.
        key_variable: environment variable that holds the server's key, for the message.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return "is not an address. Give one such as http://localhost:8000/v1"
    if "@" in parts.netloc:
        return f"contains a user or password. Leave it out, and put the key into {key_variable}"
    if parts.query or parts.fragment:
        return f"contains a query (from ? or # on), which may hold a key. Leave it out, and put the key into {key_variable}"
    if KEY_PATTERN.search(address):
        return f"contains what looks like a key. Leave it out, and put the key into {key_variable}"
    return ""
