from collections import Counter

import pytest

from close_transfer.core.errors import UserError
from tests.data.sources.made import json_lines, load, pair, picture, write

PAIRS = [
    pair("entailment", "A dog runs.", "An animal moves.", "1"),
    pair("-", "A dog runs.", "It is Tuesday.", "2"),
    pair("contradiction", "A dog runs.", "A dog sleeps.", "3"),
    pair("neutral", "A dog runs.", "A dog chases a cat.", "4"),
]


def test_premise_hypothesis_and_label_and_the_undecided_are_counted():
    write("snli_1.0_dev.jsonl", json_lines(PAIRS))
    loaded = load("snli", "snli-ve", "val")
    assert [(e.texts, e.prompt, e.references, e.category) for e in loaded.examples] == [
        (("A dog runs.",), hypothesis, (label,), label)
        for label, hypothesis in [
            ("entailment", "An animal moves."), ("contradiction", "A dog sleeps."), ("neutral", "A dog chases a cat."),
        ]
    ]  # fmt: skip
    assert loaded.skipped == Counter({"pairs without a gold label (-)": 1})
    assert all(e.image is None for e in loaded.examples)


@pytest.mark.parametrize("name", ["4465359505", "4465359505.jpg"])
def test_snli_ve_has_the_image_that_the_premise_describes(name):
    picture("flickr30k-images/4465359505.jpg")
    write("snli_ve_test.jsonl", json_lines([PAIRS[0] | {"Flickr30K_ID": name}]))
    (example,) = load("snli-ve", "snli-ve", "test").examples
    assert example.image.open().size == (40, 30)


@pytest.mark.parametrize("field", ["Flickr30K_ID", "Flickr30kID", "Flikr30kID"])
def test_the_image_is_found_under_any_spelling_of_its_field(field):
    write("snli_ve_test.jsonl", json_lines([PAIRS[0] | {field: "4465359505"}]))
    picture("flickr30k-images/4465359505.jpg")
    (example,) = load("snli-ve", "snli-ve", "test").examples
    assert example.image.key == "4465359505.jpg"


def test_a_csv_without_premises_is_read_for_images_only():
    """The columns are those of e-SNLI-VE's own files; the first has no name."""
    rows = ',pairID,Flickr30kID,hypothesis,gold_label,explanation\n0,1.jpg#2r1c,1.jpg,"A man, out.",Contradiction,x\n'
    write("esnlive_test.csv", rows)
    picture("flickr30k-images/1.jpg")
    given = "files.test=esnlive_test.csv"
    (example,) = load("snli-ve", "snli-ve", "test", given, texts_needed=False).examples
    assert (example.prompt, example.references, example.texts) == ("A man, out.", ("contradiction",), ())
    assert example.image.key == "1.jpg"
    with pytest.raises(UserError, match=r"field 'sentence1' is missing"):
        load("snli-ve", "snli-ve", "test", given)


BAD = {
    "label": ({"gold_label": "maybe"}, r"line 4: field 'gold_label' is 'maybe'; allowed are entailment, neutral, contradiction, -"),
    "twice": ({"pairID": "1"}, r"line 4: field 'pairID' is '1', which another entry has too"),
    "premise": ({"sentence1": None}, r"line 4: field 'sentence1' is null"),
    "hypothesis": ({"sentence2": ""}, r"line 4: field 'sentence2' is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_said_or_counted(name):
    values, message = BAD[name]
    write("snli_1.0_test.jsonl", json_lines([*PAIRS[:3], PAIRS[3] | values]))
    with pytest.raises(UserError, match=message):
        load("snli", "snli-ve", "test")
    loaded = load("snli", "snli-ve", "test", "on_bad_rows=skip")
    assert loaded.skipped == Counter({"unusable lines": 1, "pairs without a gold label (-)": 1})
    assert len(loaded.examples) == 2


def test_a_file_of_undecided_pairs_is_of_no_use():
    write("snli_1.0_test.jsonl", json_lines(PAIRS[1:2]))
    with pytest.raises(UserError, match=r"there is nothing to use in it"):
        load("snli", "snli-ve", "test")


def test_other_tasks_are_refused():
    with pytest.raises(UserError, match=r"task=captioning: data=snli serves only snli-ve\."):
        load("snli", "captioning", "train")
