"""Comparison of an answer with a fixed set of labels."""

from collections.abc import Callable, Sequence

from close_transfer.core.text_normalization import normalize_text


def _fold_case(text: str) -> str:
    return " ".join(text.casefold().split())


# From strict to lenient, so that labels that differ only in case or punctuation stay different.
_FOLDINGS: tuple[Callable[[str], str], ...] = (str, _fold_case, normalize_text)


def match_label(answer: str, labels: Sequence[str]) -> str | None:
    """Return the label that an answer gives, ignoring case, spaces and punctuation; None if it gives none.

    An exact match comes first. An answer that matches several labels only after folding gives none of them.
    """
    for fold in _FOLDINGS:
        folded = fold(answer)
        matches = [label for label in labels if fold(label) == folded]
        if matches:
            return matches[0] if folded and len(matches) == 1 else None
    return None
