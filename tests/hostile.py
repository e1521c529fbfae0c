"""One hostile text, and checks that it does nothing on a terminal, in an HTML page and in a Markdown page."""

import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

# For terminals (a title, a cleared screen, the start of the line, the text's direction), HTML (an element, an attribute,
# an event), and Markdown (a link, an image, an address, a table's cell, a fence, a formula).
HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x9b1m\r\u202e\u2066 \"'><script>alert(1)</script><img src=x onerror=alert(1)> "
    "[click](http://evil.example/a) ![i](http://evil.example/b.png) https://evil.example www.evil.example "
    "me@evil.example |x| `code` ``` **b** $x$ <svg onload=alert(1)> &lt;b&gt; a dog"
)
HARMLESS = "a dog"
_ALLOWED = {"\n", "\u200c", "\u200d"}


def find_acting(text: str) -> list[str]:
    """Return the control characters in a text, line breaks left out."""
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") and c not in _ALLOWED]


def check_terminal(*outputs: str) -> None:
    """Check that nothing in a command's output acts on a terminal; progress bars write carriage returns."""
    for output in outputs:
        # A bar ends each of its states with a carriage return or clears the line; its own words have no other controls.
        shown = re.sub(r"\r(?=[^\n]*(?:\d+%\||\d+it|\?it|\| \d+/))|\x1b\[A|\r *\r?", "", output)
        assert find_acting(shown) == [], shown


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.counts[tag, tuple(sorted(name for name, _ in attributes))] += 1
        addresses = [value for name, value in attributes if name in ("src", "href")]
        assert all((value or "").startswith("data:image/") for value in addresses)


def find_elements(page: Path) -> set[tuple[str, tuple[str, ...]]]:
    """Return the elements of an HTML page, each with the names of its attributes."""
    return set(_Elements(page.read_text(encoding="utf-8")).counts)


def check_html(page: Path, harmless: Path) -> None:
    """Check that a page has the elements and attributes of one with harmless texts, and shows the hostile text."""
    assert find_elements(page) <= find_elements(harmless)
    text = page.read_text(encoding="utf-8")
    assert find_acting(text) == []
    assert "&lt;script&gt;" in text


def check_markdown(text: str, *, code: int | None = None) -> None:
    """Check that a Markdown text has no link, image or HTML of others."""
    assert find_acting(text) == []
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("commonmark").enable("table")
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    tokens = [inner for token in parser.parse(body) for inner in [token, *(token.children or ())]]
    kinds = Counter(token.type for token in tokens)
    assert not kinds.keys() & {"link_open", "image", "html_block", "em_open"}, kinds
    inline = {token.content for token in tokens if token.type == "html_inline"}
    assert inline <= {"<code>", "</code>"}
    # Addresses in text become links on some sites; in code they do not.
    for token in tokens:
        if token.type == "inline":
            shown = "".join(c.content if c.type == "text" else " " for c in token.children)
            source = re.sub(r"`[^`]*`", "", token.content)
            assert not re.search(r"(?:https?:|www\.)\S*evil|\w@evil", source), shown
    rows = [token for token in tokens if token.type == "tr_open"]
    if code is not None:
        assert len(rows) == code


def read_front_matter(text: str) -> dict:
    """Return the YAML header of a card."""
    begin, header, _ = text.split("---\n", 2)
    assert begin == ""
    return yaml.safe_load(header)


def check_svg(content: bytes) -> None:
    """Check that a figure has no script, link or event."""
    for element in ElementTree.fromstring(content).iter():
        assert isinstance(element.tag, str) and element.tag.rpartition("}")[2] not in (
            "script",
            "a",
            "image",
            "foreignObject",
        )
        assert not [name for name in element.attrib if name.startswith("on")]
