"""Growth of the parser's and the filters' time with the length of hostile texts: linear, whatever the text.

The time is the process's, the least of several, so that other work on the machine does not count.
"""

import time
from contextlib import suppress

import pytest

from tests.settings import make_filters, make_recipe
from textgen.corpus.candidate import Candidate
from textgen.filters import build_chain
from textgen.filters.words import Lexicon
from textgen.generators.response_parser import Unusable, parse_items

ONE = make_recipe()
THREE = make_recipe(items_per_request=3)
PAIR = make_recipe(fields={"text": {}, "hypothesis": {}})
SHORT = 5_000  # characters; below, fixed costs hide the growth
FACTOR, LIMIT = 4, 8  # four times the text may take eight times as long
LEAST = 0.002  # seconds, below which a time is not a measurement

# Beginning and repeated part of answers that took quadratic time or all of the stack, and of their relatives.
ANSWERS = [
    ("Caption", "_"), ("Caption 1", "_"), ("", "["), ("x", "["), ("x", "[1,"), ("x", '["a",'), ("x", '{"a":'), ("x", "{"),
    ("x", '{"'), ("x", '["'), ("x", '",[",'), ("x", "[a "), ("<think>", "x"), ("", "</think>"), ("", "<think>"), ("", "1.\n"),
    ("", "text:\n"), ("text", "="), ("", "“"), ("", "x"), ("", "“x” "), ("", "```"), ('{"text": "', "x"), ('{"text": "', "\\n"),
]  # fmt: skip
TEXTS = [
    ("", "Dog "), ("", "X "), ("dog", "'s"), ("dog", "-a"), ("", "{"), ("", "{%"), ("", "[a"), ("", "(words:"), ("", "x"),
    ("", "_"), ("Caption", "_"), ("", "*a "), ("", "ha "), ("", "A b c d: "), ("", "<a"), ("", "sorry, but "), ("", "#"),
    ("", "please provide the x "), ("", "! "), ("", "“"), ("", "&amp;"), ("", "é"), ("", "\u0130"),
]  # fmt: skip


def measure(function, text, num=3):
    """Return the least time of some calls, in seconds of the process."""
    times = []
    for _ in range(num):
        begin = time.process_time()
        with suppress(Unusable):
            function(text)
        times.append(time.process_time() - begin)
    return min(times)


def check_growth(function, first, unit):
    short, long = (first + unit * (length // len(unit)) for length in (SHORT, FACTOR * SHORT))
    if measure(function, long, 1) <= LIMIT * LEAST:  # too fast to be quadratic
        return
    assert measure(function, long) <= LIMIT * max(measure(function, short), LEAST), (first, unit)


@pytest.mark.parametrize("recipe", [ONE, THREE, PAIR], ids=["one", "three", "pair"])
def test_the_parsers_time_is_linear(recipe):
    for first, unit in ANSWERS:
        check_growth(lambda text: parse_items(text, recipe), first, unit)


@pytest.fixture(scope="module")
def stages():
    """Return all stages but CLIP's tokens, which need torch, with their lists loaded."""
    texts = {"references": ["A dog runs over grass"], "evaluation": ["A cat sleeps"], "examples": ["A bird sings."]}
    made = build_chain(
        make_filters(clip_tokens=None), ONE, instructions="Write a caption.\nWords: a\nCaption:", **texts
    )
    for stage in made:
        stage.find_reasons([Candidate("r-0", "r", "A warm day", keywords=("day",))])
    return made


def test_the_filters_time_is_linear(stages):
    for stage in stages:
        for first, unit in TEXTS:
            check_growth(lambda text: stage.find_reasons([Candidate("r-0", "r", text, keywords=("dog",))]), first, unit)  # noqa: B023


def test_endings_without_end_are_not_a_recursion_error():
    lexicon = Lexicon("en")
    assert lexicon.knows("dog's's")
    assert not lexicon.knows("xqzt" + "'s" * 50_000)
    assert not lexicon.knows("dog'" * 50_000)
