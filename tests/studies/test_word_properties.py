"""Recall of the most frequent words of the references, by property and by category of nouns."""

from pathlib import Path

import pytest

from studies import word_properties
from studies.evaluated_captions import EvaluatedCaptions
from studies.word_properties import measure_properties

REFERENCES = (
    ("A red dog on the beach.", "A small dog."),
    ("A red dog left of a cat.", "A dog and a cat."),
    ("A tiny red bus.", "A bus."),
)


def evaluate(*captions, references=REFERENCES):
    return EvaluatedCaptions(Path("here"), "picturebook", "test", captions, references)


class Similarities:
    """Categories and similarities that are made up."""

    def find_category(self, noun):
        return "animals" if noun in ("dog", "cat") else "other"

    def measure_similarity(self, noun, other):
        return 1.0 if noun == other else 0.5 if {noun, other} == {"dog", "cat"} else 0.1


def test_recall_counts_frequent_words_that_the_references_of_the_same_image_have():
    found = measure_properties(evaluate("A cat.", "A red cat and a small dog.", "A bus."), 50, 20, None)
    nouns = {row["word"]: (row["num_expected"], row["recall"]) for row in found["words"]["nouns"]}
    # The dog of the first image is missing; the cat of its caption is not expected.
    assert nouns == {"dog": (2, 50.0), "bus": (1, 100.0), "cat": (1, 100.0), "beach": (1, 0.0)}
    assert found["properties"]["nouns"]["recall"]["value"] == pytest.approx(100 * 3 / 5)
    # "tiny" is a synonym of "small".
    assert [row["word"] for row in found["words"]["modifiers"]] == ["red", "small"]
    assert found["properties"]["modifiers"] == {
        "num_words": 2, "num_expected": 5, "recall": {"value": pytest.approx(20.0), "interval": [0.0, 50.0]},
    }  # fmt: skip
    assert found["properties"]["relations"]["recall"]["value"] == 0.0
    assert found["num_images"] == 3


def test_only_the_most_frequent_words_count_and_ties_are_alphabetical():
    found = measure_properties(evaluate("", "", ""), 3, 20, None)
    assert [row["word"] for row in found["words"]["nouns"]] == ["dog", "bus", "cat"]
    assert found["properties"]["nouns"]["num_words"] == 3


def test_captions_that_repeat_their_references_have_all_words_and_empty_ones_none():
    everything = [" ".join(texts) for texts in REFERENCES]
    for captions, value in ((everything, 100.0), ([""] * 3, 0.0)):
        found = measure_properties(evaluate(*captions), 50, 20, Similarities())
        measured = [*found["properties"].values(), *found["categories"].values()]
        assert all(facts["recall"]["value"] == value for facts in measured)
        assert all(facts["similarity"]["value"] == value for facts in found["categories"].values())


def test_nouns_are_grouped_and_the_most_similar_noun_of_the_caption_counts():
    found = measure_properties(evaluate("A cat in the snow.", "A bus.", "A bus."), 50, 20, Similarities())
    assert list(found["categories"]) == ["animals", "other"]
    animals = found["categories"]["animals"]
    # Expected: the dog of the first image (0.5 by its cat), the dog and the cat of the second (0.1 by its bus).
    assert (animals["num_words"], animals["num_expected"], animals["recall"]["value"]) == (2, 3, 0.0)
    assert animals["similarity"]["value"] == pytest.approx(100 * (0.5 + 0.1 + 0.1) / 3)
    (dog,) = [row for row in found["words"]["nouns"] if row["word"] == "dog"]
    assert dog["category"] == "animals" and dog["similarity"] == pytest.approx(30.0)
    assert all("similarity" not in row for row in found["words"]["modifiers"])


def test_a_property_that_no_reference_has_gives_no_number():
    found = measure_properties(evaluate("A dog.", references=(("A dog.",),)), 50, 20, None)
    assert found["properties"]["relations"] == {"num_words": 0, "num_expected": 0}
    assert found["categories"] == {} and found["words"]["relations"] == []


def test_captions_of_other_data_are_tagged(monkeypatch):
    asked = []

    class Finder(word_properties.PicturebookFinder):
        def __init__(self, references):
            asked.extend(references)

    monkeypatch.setattr(word_properties, "TaggedFinder", Finder)
    measure_properties(EvaluatedCaptions(Path("x"), "coco", "val", ("A dog.",), (("A dog.", "A cat."),)), 50, 20, None)
    assert asked == ["A dog.", "A cat."]
