import pytest

from close_transfer.core.errors import UserError
from tests.data.sources.made import json_lines, karpathy, load, picture, write

TOLD = {"1000.jpg": ["A dog runs .", "A dog plays ."], "1001.jpg": ["Two cats .", "Cats sleep ."]}


def karpathy_flickr():
    """dataset_flickr30k.json names no folder and has no COCO id."""
    splits = dict(zip(TOLD, ("train", "test"), strict=True))
    images = [
        {"sentids": [0, 1], "imgid": n, "sentences": [{"raw": t, "tokens": t.split()} for t in told],
         "split": splits[name], "filename": name}
        for n, (name, told) in enumerate(TOLD.items())
    ]  # fmt: skip
    return karpathy(images, "flickr30k")


def token_lines():
    return "".join(f"{name}#{n}\t{text}\n" for name, told in TOLD.items() for n, text in enumerate(told))


def test_karpathy_s_file_is_read_by_split():
    write("dataset_flickr30k.json", karpathy_flickr())
    picture("flickr30k-images/1001.jpg")
    (example,) = load("flickr30k", "captioning", "test").examples
    assert (example.id, example.texts) == ("1001.jpg", ("Two cats .", "Cats sleep ."))
    assert example.image.open().size == (40, 30)


def test_a_split_that_karpathy_s_file_lacks_is_said_with_those_it_has():
    write("dataset_flickr30k.json", karpathy_flickr())
    with pytest.raises(
        UserError, match=r"dataset_flickr30k\.json: there is no image of split=val, only \{'train': 1, 'test': 1\}\."
    ):
        load("flickr30k", "captioning", "val")


@pytest.mark.parametrize("name", ["results_20130124.token", "results_20130124.token.gz"])
def test_the_token_file_is_the_split_that_it_is_given_for(name):
    write(name, token_lines())
    loaded = load("flickr30k", "captioning", "train", "files.train=results_20130124.token")
    assert {e.id: list(e.texts) for e in loaded.examples} == TOLD


def test_json_lines_with_an_image_and_its_captions():
    write("captions_val.jsonl", json_lines({"image": n, "captions": t} for n, t in TOLD.items()))
    loaded = load("flickr30k-jsonl", "captioning", "val")
    assert {e.id: list(e.references) for e in loaded.examples} == TOLD


BAD = {
    "results.token": (token_lines() + "1002.jpg A line without a tab\n", r"line 5: not of the form IMAGE\.jpg#NUMBER<tab>caption"),
    "empty.token": (token_lines() + "1002.jpg#0\t \n", r"line 5: field 'caption' is empty"),
    "lines.jsonl": (json_lines([{"image": "1.jpg", "captions": ["A dog."]}, {"image": "2.jpg", "captions": []}]),
                    r"line 2: field 'captions' is an empty list"),
    "numbers.jsonl": (json_lines([{"image": "1.jpg", "captions": ["A dog."]}, {"image": "2.jpg", "captions": ["A cat.", 5]}]),
                      r"line 2: field 'captions' is a number \(5\), not text"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_said_or_counted_and_leave_no_empty_scene(name):
    content, message = BAD[name]
    write(name, content)
    with pytest.raises(UserError, match=message):
        load("flickr30k", "captioning", "test", f"files.test={name}")
    loaded = load("flickr30k", "captioning", "test", f"files.test={name}", "on_bad_rows=skip")
    assert loaded.num_skipped == 1
    assert len(loaded.examples) == (2 if name.endswith("token") else 1)
    assert all(e.texts for e in loaded.examples)
