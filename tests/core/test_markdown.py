"""Markdown in which texts of others are shown and do nothing."""

import html
import re

import pytest

from close_transfer.core.markdown import Markdown, escape_text, format_code, format_code_block, format_table
from close_transfer.core.pages import write_page


def test_a_table_has_a_line_per_row_and_a_rule_under_its_header():
    assert format_table(["name", "score"], [["a", "1.0"], ["b", ""]], ["left", "right"]) == (
        "| name | score |\n|---|---:|\n| a | 1.0 |\n| b |  |"
    )
    assert format_table(["", ""], []) == "|  |  |\n|---|---|"


def test_a_table_escapes_texts_and_keeps_markdown():
    table = format_table(["*a*"], [["[x](y)"], [Markdown("**1.0**")], [format_code("<b>")]])
    assert table == "| \\*a\\* |\n|---|\n| \\[x\\](y) |\n| **1.0** |\n| `<b>` |"


def test_a_text_holds_nothing_that_a_reader_obeys():
    assert escape_text("a|b\n <i>c</i> & \\d") == "a\\|b &lt;i&gt;c&lt;/i&gt; &amp; \\\\d"
    assert escape_text("\\|") == "\\\\\\|"
    assert escape_text(7) == "7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[click](javascript:alert(1))", "\\[click\\](javascript:alert(1))"),
        ("![x](//evil/a.png)", "!\\[x\\](//evil/a.png)"),
        ("[a]: http://evil", "\\[a\\]: http&#58;//evil"),
        ("see https://evil and WWW.evil.org", "see https&#58;//evil and WWW&#46;evil.org"),
        ("a@evil.org mailto:x", "a&#64;evil.org mailto&#58;x"),
        ("**a** _b_ __c__ ~~d~~ `e` $f$", "\\*\\*a\\*\\* \\_b\\_ \\_\\_c\\_\\_ \\~\\~d\\~\\~ \\`e\\` \\$f\\$"),
        ("# a", "\\# a"),
        ("- a", "\\- a"),
        ("1. a", "1\\. a"),
        ("---", "\\---"),
        ("```", "\\`\\`\\`"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
    ],
)
def test_a_text_is_not_a_link_or_a_block(text, expected):
    assert escape_text(text) == expected
    shown = html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", expected))  # as CommonMark shows it
    assert shown == text


@pytest.mark.parametrize(
    "text",
    ["accuracy_close_code", "12.3 (1.2 to 3.4)", "-1.5", "+2", "trained on text, noise 0.1", "a/b: c-d #1", "T5 → B"],
)
def test_usual_texts_are_unchanged(text):
    assert escape_text(text) == text
    assert escape_text(escape_text(f"[{text}]")) == escape_text(f"[{text}]")


def test_code_stays_code_in_a_table_too():
    assert format_code("a < b [c](d)\n") == "`a < b [c](d)`"
    assert format_code("") == ""
    for text in ("a`b", "c\\|d", "`<script>`", "x|[a](b)"):
        shown = format_code(text)
        assert shown.startswith("<code>") and shown.endswith("</code>")
        content = shown.removeprefix("<code>").removesuffix("</code>")
        assert re.fullmatch(r"(?:[\w ]|&#\d+;)*", content)
        assert html.unescape(content) == text
    assert "\x1b" not in format_code("\x1b`") and "27" not in format_code("\x1b`")


def test_no_line_ends_a_block_of_code():
    assert format_code_block("a\n```\n<b>", "yaml") == "````yaml\na\n```\n<b>\n````"
    assert format_code_block("a") == "```\na\n```"


def test_a_page_has_no_control_characters(tmp_path):
    write_page(tmp_path / "page.md", "a\x1b[2J\u202eb\r\n犬\n")
    assert (tmp_path / "page.md").read_bytes().decode() == "a\\x1b[2J\\u202eb\\r\n犬\n"
