"""What an attempt's end is in the journal."""

import pytest

from tests.settings import make_recipe
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import FREE
from textgen.generators.events import answer_event
from textgen.generators.responses import Reply, RequestError

ONE = make_recipe(name="one", template="one.j2")
TWO = ONE.model_copy(update={"items_per_request": 2})


def event(text, recipe=ONE, cut=True):
    return answer_event("r", 1, Reply(text, None, 5, 7, "model", cut), recipe, FREE, Spend(100, 0.0))


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("A dog runs along the", ONE),
        ('"A dog runs along the', ONE),
        ("A dog runs.\nA cat sleeps on the", TWO),
        ("1. A dog runs.\n2. A cat sleeps on the", TWO),
    ],
)
def test_an_answer_that_ends_within_its_last_text_is_cut(text, recipe):
    assert event(text, recipe)["cut"] is True
    assert "cut" not in event(text, recipe, cut=False)


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ('{"text": "A dog runs."}', ONE),
        ('"A dog runs."', ONE),
        # A model that only continues text goes on with the next example.
        ("A dog runs along the beach.\nWords: cat, roof\nCaption: A cat on the", ONE),
        ("A dog runs.\nA cat sleeps.\nA bird on", TWO),
    ],
)
def test_an_answer_that_ends_behind_its_last_text_is_whole(text, recipe):
    assert "cut" not in event(text, recipe)


def test_json_that_ends_in_the_middle_is_a_fault_that_is_paid_for():
    with pytest.raises(RequestError, match="cut short") as fault:
        event('{"text": "A dog ru')
    assert fault.value.paid == "reported"


def test_what_no_file_can_hold_reaches_no_journal():
    declined = answer_event("r", 1, Reply("", "no \ud83d", 5, 7, "m\ud83d"), ONE, FREE, Spend(100, 0.0))
    assert (declined["refusal"], declined["model"], declined["items"]) == ("no \ufffd", "m\ufffd", [])
