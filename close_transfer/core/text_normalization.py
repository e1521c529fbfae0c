"""Text normalization for comparing texts: case, punctuation and spacing are ignored."""

import unicodedata


class _Folding(dict[int, str | None]):
    """Table for `str.translate` that removes punctuation; an entry is added when a character is first seen."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        # Unicode's categories of punctuation begin with P, in every script.
        self[code] = None if unicodedata.category(character).startswith("P") else character
        return self[code]


_FOLDING = _Folding()


def normalize_text(text: str) -> str:
    """Normalize a text: Unicode NFKC, lower case, no punctuation, single spaces.

    Two texts are the same if their normalized texts are equal. The result is empty if the text has no words.
    """
    return " ".join(unicodedata.normalize("NFKC", text).lower().translate(_FOLDING).split())
