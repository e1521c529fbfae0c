"""Journal events of finished attempts."""

import pytest

from tests.settings import make_recipe
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import FREE
from textgen.generators.events import make_answer_event
from textgen.generators.responses import Reply, RequestError

ONE = make_recipe(name="one", template="one.j2")
TWO = ONE.model_copy(update={"items_per_request": 2})


def make_event(text, recipe=ONE, is_truncated=True):
    return make_answer_event("r", 1, Reply(text, None, 5, 7, "model", is_truncated), recipe, FREE, Spend(100, 0.0))


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
    declined = make_answer_event("r", 1, Reply("", "no \ud83d", 5, 7, "m\ud83d"), ONE, FREE, Spend(100, 0.0))
    assert (declined["refusal"], declined["model"], declined["items"]) == ("no \ufffd", "m\ufffd", [])
