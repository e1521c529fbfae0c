"""Canonical JSON and hashes of it."""

import hashlib
import json
from typing import Any


def to_canonical_json(value: Any) -> str:
    """Return the canonical JSON of a value; equal values give equal text, in any order of their keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def hash_json(value: Any, num_bytes: int = 32) -> str:
    """Return the first `num_bytes` bytes of the SHA-256 of a JSON value, in hexadecimal digits."""
    return hashlib.sha256(to_canonical_json(value).encode()).digest()[:num_bytes].hex()
