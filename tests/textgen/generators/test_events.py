"""Journal events of finished attempts."""

import pytest

from tests.settings import make_recipe
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import FREE, Price
from textgen.generators import events
from textgen.generators.events import make_answer_event
from textgen.generators.responses import Reply, RequestError

ONE = make_recipe(name="one", template="one.j2")
TWO = ONE.model_copy(update={"items_per_request": 2})


def make_event(text, recipe=ONE, is_truncated=True):
    return make_answer_event("r", 1, Reply(text, None, 5, 7, "model", is_truncated), recipe, FREE, Spend(100, 0.0), 64)


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("A dog runs along the", ONE),
        ('"A dog runs along the', ONE),
        ("A dog runs.\nA cat sleeps on the", TWO),
        ("1. A dog runs.\n2. A cat sleeps on the", TWO),
    ],
)
def test_an_answer_that_ends_inside_its_last_text_is_truncated(text, recipe):
    assert make_event(text, recipe)["cut"] is True
    assert "cut" not in make_event(text, recipe, is_truncated=False)


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ('{"text": "A dog runs."}', ONE),
        ('"A dog runs."', ONE),
        # A base model continues with the next example.
        ("A dog runs along the beach.\nWords: cat, roof\nCaption: A cat on the", ONE),
        ("A dog runs.\nA cat sleeps.\nA bird on", TWO),
    ],
)
def test_an_answer_that_ends_after_its_last_text_is_complete(text, recipe):
    assert "cut" not in make_event(text, recipe)


def test_truncated_json_is_a_fault_with_a_charge():
    with pytest.raises(RequestError, match="cut short") as fault:
        make_event('{"text": "A dog ru')
    assert fault.value.paid == "reported"


def test_characters_that_no_file_can_hold_are_replaced():
    declined = make_answer_event("r", 1, Reply("", "no \ud83d", 5, 7, "m\ud83d"), ONE, FREE, Spend(100, 0.0), 64)
    assert (declined["refusal"], declined["model"], declined["items"]) == ("no \ufffd", "m\ufffd", [])


RESERVE = Spend(300, 0.3)


@pytest.mark.parametrize(
    ("num_input", "num_output"), [(0, 0), (0, 7), (40, 0), (40, 2 * 10**9), (2 * 10**9, 7), (40, 30_000)]
)
def test_usage_that_cannot_be_true_is_charged_at_the_reserve(num_input, num_output):
    reply = Reply("A dog runs.", None, num_input, num_output, "m")
    event = make_answer_event("r", 1, reply, ONE, Price(1e-3, 1e-3, "now"), RESERVE, 64)
    assert (event["paid"], event["tokens"], event["cost"]) == ("reserved", 300, 0.3)
    assert "input_tokens" not in event
    assert f"{num_output:,} output tokens for an answer of 11 characters" in event["usage_not_believed"]


@pytest.mark.parametrize(("num_input", "num_output"), [(1, 1), (40, 7), (40, 64), (40, 5_000)])
def test_usage_that_can_be_true_is_charged(num_input, num_output):
    reply = Reply("A dog runs.", None, num_input, num_output, "m")
    event = make_answer_event("r", 1, reply, ONE, Price(1e-3, 1e-3, "now"), RESERVE, 64)
    assert (event["paid"], event["tokens"]) == ("reported", num_input + num_output)
    assert event["cost"] == pytest.approx(1e-3 * (num_input + num_output))
    assert "usage_not_believed" not in event


def test_an_answer_much_longer_than_asked_for_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(events, "parse_items", lambda *_: pytest.fail("was parsed"))
    with pytest.raises(RequestError) as fault:
        make_event("A dog. " * 1000)
    assert (fault.value.kind, fault.value.paid) == ("too long", "reported")
    assert fault.value.detail == "the answer has 7,000 characters; 4,096 are read for 64 tokens"


def test_a_mistake_of_the_parser_costs_one_answer(monkeypatch):
    def fail(*_):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(events, "parse_items", fail)
    with pytest.raises(RequestError) as fault:
        make_event("A dog runs.")
    assert (fault.value.kind, fault.value.paid) == ("parser error", "reported")
    assert "RecursionError: maximum recursion depth exceeded" in fault.value.detail
