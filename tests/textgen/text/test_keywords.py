"""Keywords: extraction, lemmas, counts and refused settings."""

import sys
import types

import pytest

from close_transfer.core.errors import UserError
from tests.settings import make_keywords
from textgen.text.keywords import count_keywords, extract_words, lemmatize, load_stop_list

TEXTS = [
    "A dog sits near two dogs that sit in the park.",
    "The dogs are running in parks, and a man runs: run!",
    "A man's hat, a woman's umbrella and a well-known T-shirt.",
    "123 4th 7 !!!",
    "It is what it is.",
]


def keywords(texts=TEXTS, **settings):
    return count_keywords(texts, make_keywords(**settings))


def test_lemmas_are_counted_once_per_text():
    counted = keywords()
    assert counted.counts["dog"] == 2
    assert counted.counts["park"] == 2
    assert counted.counts["run"] == 1
    assert list(counted.counts.items())[:3] == [("dog", 2), ("man", 2), ("park", 2)]
    assert list(counted.counts.values()) == sorted(counted.counts.values(), reverse=True)
    assert counted.num_texts == 5
    assert counted.sets[0] == ("dog", "sit", "two", "park")
    assert len(counted.sets) == 3  # of texts that hold any


def test_function_words_numbers_and_letters_are_excluded():
    counted = keywords()
    assert not set(counted.counts) & (load_stop_list("en") | {"a", "t", "123", "4th", "s", "'s"})
    assert not any(word.isdigit() or len(word) < 2 for word in counted.counts)


def test_content_words_of_captions_are_keywords():
    counted = keywords(["A small young man with two old women, one woman in red."])
    assert set(counted.counts) == {"small", "young", "man", "two", "old", "woman", "red"}


def test_a_lemma_in_no_text_becomes_its_most_frequent_form():
    counted = keywords(["A man playing.", "A boy playing.", "A girl playing with women."])
    assert counted.counts["playing"] == 3
    assert counted.counts["women"] == 1
    assert counted.sets[0] == ("man", "playing")


def test_words_are_extracted():
    assert extract_words("A dog's well-known “Ball”, 3 Ärzte & naïve_ones.") == [
        "a", "dog's", "well-known", "ball", "ärzte", "naïve", "ones",
    ]  # fmt: skip


def test_rare_words_are_excluded():
    counted = keywords(min_count=2)
    assert counted.counts == {"dog": 2, "man": 2, "park": 2}
    assert counted.sets == [("dog", "park"), ("dog", "park", "man"), ("man",)]
    with pytest.raises(UserError, match=r"no keyword is in at least keywords.min_count=9 of the 5 texts\. Lower it"):
        keywords(min_count=9)


def test_words_to_drop_are_dropped_in_every_form():
    assert "dog" not in keywords(drop=["dog"]).counts
    assert "dog" not in keywords(drop=["Dog"]).counts


def test_texts_without_words_are_refused():
    with pytest.raises(UserError, match="give more texts"):
        keywords(["It is.", "1 2 3"])


def test_other_languages_have_stop_lists_and_lemmas():
    counted = keywords(["Die Hunde laufen über eine Straße.", "Ein Hund schläft."], language="de")
    assert counted.counts["hund"] == 2
    assert not {"die", "eine", "ein", "über"} & set(counted.counts)
    assert lemmatize("Hunde", "de") == "hund"


def test_unknown_languages_are_refused_with_the_known_ones():
    with pytest.raises(
        UserError, match=r"keywords.language=tlh: there is no stop list for it\. Choose one of .*\bde\b"
    ):
        keywords(language="tlh")
    with pytest.raises(
        UserError, match=r"keywords.language=zh: there is no dictionary for it\. Choose one of .*\ben\b"
    ):
        lemmatize("dog", "zh")


class _Token:
    def __init__(self, text):
        self.lemma_, self.is_alpha = text.rstrip("s").capitalize(), text.isalpha()
        self.pos_ = "NOUN" if text.rstrip("s") in ("dog", "park", "one") else "VERB"


def spacy_with(load):
    module = types.ModuleType("spacy")
    module.__spec__ = types.SimpleNamespace(name="spacy")
    module.load = load
    return module


def test_parts_of_speech_by_the_users_pipeline(monkeypatch):
    class Pipeline:
        def pipe(self, texts):
            return ([_Token(word) for word in extract_words(text)] for text in texts)

    monkeypatch.setitem(sys.modules, "spacy", spacy_with(lambda name, exclude: Pipeline()))
    texts = ["Dogs run in parks.", "One dog ran."]
    counted = keywords(texts, part_of_speech=["NOUN"], spacy_pipeline="mine")
    assert counted.counts == {"dog": 2, "park": 1}
    assert set(keywords(texts, part_of_speech=["NOUN"], spacy_pipeline="mine", drop=["dog"]).counts) == {"park"}


def test_parts_of_speech_without_spacy_or_its_pipeline_are_refused(monkeypatch):
    with pytest.raises(UserError, match=r"keywords.part_of_speech=\[ADJ,NOUN\]: needs a spaCy pipeline"):
        keywords(part_of_speech=["NOUN", "ADJ"])
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(
        UserError, match=r"spaCy is not installed\. Run pip install spacy, or give keywords.part_of_speech=null"
    ):
        keywords(part_of_speech=["NOUN"], spacy_pipeline="en_core_web_sm")

    def load(name, exclude):
        raise OSError("[E050] Can't find model")

    monkeypatch.setitem(sys.modules, "spacy", spacy_with(load))
    with pytest.raises(UserError, match=r"keywords.spacy_pipeline=en_core_web_sm: spaCy has no such pipeline here"):
        keywords(part_of_speech=["NOUN"], spacy_pipeline="en_core_web_sm")
