"""Filter of texts that CLIP would truncate."""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from close_transfer.core.errors import UserError
from textgen.corpus.candidate import Candidate

# Largest growth of a UTF-8 text under Unicode's composition (NFC), which the tokenizer applies:
# unicode.org/faq/normalization.
_MAX_GROWTH = 3


def require_clip() -> None:
    """Check that CLIP's tokenizer can be loaded, without loading it.

    Raises:
        UserError: if open_clip or torch, which it needs, is not installed.
    """
    missing = [name for name in ("open_clip", "torch") if not _is_installed(name)]
    if missing:
        raise UserError(
            f"filters.clip_tokens counts tokens with open_clip, and {' and '.join(missing)} cannot be imported. Install "
            "open_clip_torch, or give filters.clip_tokens=null to keep texts of any length"
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # a broken installation, or a module that is blocked in sys.modules
        return False


class ClipTokens:
    """Stage that removes texts with more CLIP tokens than its text encoder reads, including start and end token."""

    name = "CLIP's tokens"

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        return [self._find_reason(candidate.text) for candidate in candidates]

    def _find_reason(self, text: str) -> str | None:
        if _bound_tokens(text) <= self._max_tokens:  # saves the tokenizer's seconds to load and to run
            return None
        # Pairs are merged in a time that grows with the square of a word's length, so babble is counted by its bytes.
        fewest = 2 + -(-len("".join(self._tokenizer.clean_fn(text).split()).encode()) // self._longest_token)
        if fewest > self._max_tokens:
            return f"at least {fewest} tokens of CLIP; it reads {self._max_tokens}"
        count = len(self._tokenizer.encode(text)) + 2
        return f"{count} tokens of CLIP; it reads {self._max_tokens}" if count > self._max_tokens else None

    @cached_property
    def _tokenizer(self) -> Any:
        from open_clip.tokenizer import SimpleTokenizer  # imports torch, which takes seconds

        return SimpleTokenizer()

    @cached_property
    def _longest_token(self) -> int:
        """Length of the longest token in bytes: the tokenizer writes each byte as one character."""
        special = self._tokenizer.all_special_ids
        return max(
            len(token.removesuffix("</w>"))
            for token, number in self._tokenizer.encoder.items()
            if number not in special
        )


def _bound_tokens(text: str) -> int:
    """Return an upper bound of a text's tokens: a token has at least one byte, and spaces have none.

    The tokenizer first resolves HTML character references, so a text with an ampersand has no bound.
    """
    if "&" in text:
        return 2**31
    size = sum(map(len, text.split()))
    return 2 + (size if text.isascii() else _MAX_GROWTH * len("".join(text.split()).encode()))
