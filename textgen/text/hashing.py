"""One text for one value, and short names made of it."""

import hashlib
import json
from typing import Any


def to_canonical_json(value: Any) -> str:
    """The one JSON text of a value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def hash_json(value: Any, num_bytes: int = 32) -> str:
    """The beginning of the SHA-256 of a JSON value, in hexadecimal digits."""
    return hashlib.sha256(to_canonical_json(value).encode()).digest()[:num_bytes].hex()
