"""Nouns, modifiers and relations of captions."""

import sys

import pytest

from close_transfer.core.errors import UserError
from studies import word_finders
from studies.word_finders import PicturebookFinder, TaggedFinder

TEXTBLOB = "textblob finds parts of speech; pip install textblob"


def test_words_of_picturebook_are_known():
    found = PicturebookFinder().find("In a snowy landscape, two small hounds are left of a red cat at night.")
    assert found == {
        "nouns": ["cat", "dog", "snow", "night"],
        "modifiers": ["red", "small", "two"],
        "relations": ["left"],
    }


@pytest.mark.slow  # importing textblob takes seconds
def test_other_captions_are_tagged():
    pytest.importorskip("textblob", reason=TEXTBLOB)
    texts = ["A man is riding two brown horses on the beach.", "The man has a red hat and is standing near dogs."]
    finder = TaggedFinder(texts)
    assert finder.find(texts[0]) == {
        "nouns": ["man", "horse", "beach"],
        "modifiers": ["two", "brown"],
        "relations": ["riding", "on"],  # without the helping verb
    }
    assert finder.find(texts[1])["nouns"] == ["man", "hat", "dog"]


def test_a_word_has_one_property_the_one_that_references_give_it_most_often(monkeypatch):
    def tag(text):
        words = text.split()
        return [(word, "NN" if words[place - 1] == "the" else "VB") for place, word in enumerate(words)]

    monkeypatch.setattr(word_finders, "_load_tagger", lambda: tag)
    finder = TaggedFinder(["the park", "near the park", "they park here"])
    assert finder.find("they park here") == {"nouns": ["park"], "modifiers": [], "relations": ["they", "here"]}
    assert finder.find("the bird")["nouns"] == ["bird"]  # no reference has the word, so its own tag decides


def test_without_the_tagger_the_install_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "textblob.en", None)
    with pytest.raises(UserError, match=r"needs textblob.*Install it by pip install textblob"):
        TaggedFinder(["A dog."])
