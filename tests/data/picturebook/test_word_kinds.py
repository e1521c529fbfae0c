import pytest

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from studies.word_kinds import KINDS_OF_WORDS, find_words, score_words


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("A small red hound above two bunnies.", "kind", {"dog", "rabbit"}),
        ("A small red hound above two bunnies.", "colour", {"red"}),
        ("A tiny dog, a huge cat", "size", {"small", "large"}),
        ("A pair of dogs and three cats", "count", {"two", "three"}),
        ("A dog over a cat, under a star", "relation", {"above", "below"}),
        ("In a snowy landscape on the road", "place", {"snow", "street"}),
        ("In the dark, as the sun goes down", "time", {"night", "sunset"}),
        ("Redder than blueish", "colour", set()),
    ],
)
def test_synonyms_say_the_same(text, kind, expected):
    assert find_words(text, kind) == expected


def test_every_kind_of_thing_is_told_by_its_own_word():
    for scene in scenes("train", 100):
        first = captions(scene)[0]
        if "things" in first.mentions and len(scene.things) == 1:
            assert scene.things[0].kind in find_words(first.text, "kind"), first.text
    assert set(KINDS_OF_WORDS["kind"].values()) == set(world.KINDS)


def test_counts_are_of_what_was_said_and_of_what_two_references_say():
    references = [["A red dog.", "A dog in the snow.", "A red cat."]]
    counts = score_words(["A blue dog and a cat."], references, "kind")
    assert counts == ([2], [2], [1], [1])  # dog and cat are told by some; dog alone by two
    assert score_words(["A blue dog and a cat."], references, "colour") == ([1], [0], [1], [0])
