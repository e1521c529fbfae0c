"""When two texts are the same: the same words in the same order, however they are written down."""

import unicodedata


class _Folding(dict[int, str | None]):
    """A table for `str.translate`, filled as characters are met: punctuation goes, the rest stays."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        self[code] = None if unicodedata.category(character).startswith("P") else character
        return self[code]


_FOLDING = _Folding()


def normalize_text(text: str) -> str:
    """What two texts share that differ in case, punctuation, spaces and compatible characters only.

    The text in lower case and Unicode's NFKC, without punctuation, with single spaces; empty if nothing is left.
    """
    return " ".join(unicodedata.normalize("NFKC", text).lower().translate(_FOLDING).split())
