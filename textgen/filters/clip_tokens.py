"""Takes out texts that CLIP would cut."""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from close_transfer.core.errors import UserError
from textgen.corpus.candidate import Candidate

# The most bytes that Unicode's composition (NFC) makes of one byte in UTF-8: unicode.org/faq/normalization.
_MOST_GROWTH = 3


def require_clip() -> None:
    """Checks that CLIP's tokenizer can be loaded, without loading it.

    Raises:
        UserError: if open_clip or torch, which it needs, is not installed.
    """
    missing = [name for name in ("open_clip", "torch") if not _is_installed(name)]
    if missing:
        raise UserError(
            f"filters.clip_tokens counts tokens with open_clip, and {' and '.join(missing)} cannot be imported; install "
            "open_clip_torch, or give filters.clip_tokens=null to keep texts of every length"
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # something stands in its way, or it is blocked
        return False


class ClipTokens:
    """No more tokens of CLIP in `text` than its text encoder reads, the start and the end included."""

    name = "CLIP's tokens"

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate.text) for candidate in candidates]

    def _find_reason(self, text: str) -> str | None:
        if _bound_tokens(text) <= self._max_tokens:
            return None
        count = len(self._tokenizer.encode(text)) + 2
        return f"{count} tokens of CLIP; it reads {self._max_tokens}" if count > self._max_tokens else None

    @cached_property
    def _tokenizer(self) -> Any:
        from open_clip.tokenizer import SimpleTokenizer  # takes seconds, and most texts are short

        return SimpleTokenizer()


def _bound_tokens(text: str) -> int:
    """More tokens than this a text cannot have: a token holds one byte at least, and spaces make none.

    The tokenizer first resolves HTML's character references, so with an ampersand anything is possible.
    """
    if "&" in text:
        return 2**31
    size = sum(map(len, text.split()))
    return 2 + (size if text.isascii() else _MOST_GROWTH * len("".join(text.split()).encode()))
