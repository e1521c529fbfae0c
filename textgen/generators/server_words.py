"""Words of a server that sent no answer of the API: those of a web page or an error, without tags."""

import re

_MAX_WORDS = 200  # characters that are shown
_MAX_READ = 20_000  # characters of a page that are searched for words
_HIDDEN = re.compile(r"<(script|style)\b[^>]*>[^<]*", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_WEB_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml|title|h\d|p|div|center)\b", re.IGNORECASE)


def is_web_page(text: str) -> bool:
    """Return True if a text is HTML or XML, so it comes from another server than the one of the API."""
    return _WEB_PAGE.match(text) is not None


def extract_words(text: str) -> str:
    """Return the first words of a text on one line, without full stops at the end.

    A web page is named as one, and its tags are left out.
    """
    words = text[:_MAX_READ]
    if is_web_page(words):
        words = "a web page: " + (" ".join(_TAG.sub(" ", _HIDDEN.sub(" ", words)).split()) or "without words")
    words = " ".join(words.split()).rstrip(".")
    return words if len(words) <= _MAX_WORDS else words[:_MAX_WORDS] + " ..."
