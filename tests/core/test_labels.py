"""Answers compared with a set of labels."""

import pytest

from close_transfer.core.labels import match_label

LABELS = ("entailment", "neutral", "contradiction")


@pytest.mark.parametrize(
    ("answer", "labels", "label"),
    [
        ("Entailment", LABELS, "entailment"),
        (" neutral\n", LABELS, "neutral"),
        ('"CONTRADICTION."', LABELS, "contradiction"),
        ("entail", LABELS, None),
        ("", LABELS, None),
        ("neutral or entailment", LABELS, None),
        ("no  idea", ("No idea", "yes"), "No idea"),
        # Labels that only case or punctuation tells apart need an exact answer.
        ("a", ("A", "a"), "a"),
        ("A.", ("A", "a"), None),
        ("+", ("+", "-"), "+"),
        ("*", ("+", "-"), None),
        ("-", ("neutral", "-"), "-"),
        ("STRASSE", ("Straße", "Weg"), "Straße"),
    ],
)
def test_an_answer_gives_the_label_it_spells_in_any_case(answer, labels, label):
    assert match_label(answer, labels) == label
