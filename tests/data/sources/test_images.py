"""Images that are not there: asked for only where images are used."""

from collections import Counter

import datasets
import pytest
from PIL import Image

from close_transfer.core.errors import UserError
from close_transfer.data.sources import images
from tests.data.sources.made import (
    annotation,
    annotations,
    coco_name,
    json_lines,
    karpathy,
    karpathy_image,
    load,
    official,
    picture,
    questions,
    vqa_e,
    write,
)

NAMES = [f"{number}.jpg" for number in range(4)]
SKIPPED = "examples whose image is missing"


def write_flickr(there):
    write("captions_test.jsonl", json_lines({"image": name, "captions": ["A dog.", "A hound."]} for name in NAMES))
    for name in there:
        picture(f"flickr30k-images/{name}")


def read(*overrides, **more):
    return load("flickr30k-jsonl", "captioning", "test", *overrides, **more)


def test_missing_images_are_an_error_with_counts_or_left_out_and_counted():
    write_flickr(NAMES[1:3])
    with pytest.raises(
        UserError,
        match=r"2 of 4 images of test are missing; the first is flickr30k-images/0\.jpg.*data\.on_missing_image=skip",
    ):
        read(images_needed=True)
    loaded = read("on_missing_image=skip", images_needed=True)
    assert [example.id for example in loaded.examples] == NAMES[1:3]
    assert loaded.skipped == Counter({SKIPPED: 2})


def test_without_any_image_the_folder_must_be_named_with_any_setting():
    write_flickr([])
    with pytest.raises(UserError, match=r"4 of 4 images of test are missing; .*name their folder"):
        read("on_missing_image=skip", images_needed=True)


def test_no_file_is_looked_for_where_text_is_used(monkeypatch):
    write_flickr([])
    monkeypatch.setattr(images, "is_file", lambda path: pytest.fail(f"{path} was looked for"))
    assert len(read().examples) == len(NAMES)


def test_questions_about_one_image_share_it():
    asked = [(420, 42, "What is it?"), (421, 42, "Is it a dog?"), (70, 7, "How many?")]
    write("v2_OpenEnded_mscoco_val2014_questions.json", questions(asked, "val2014"))
    answered = [annotation(name, image, ["yes"] * 10) for name, image, _ in asked]
    write("v2_mscoco_val2014_annotations.json", annotations(answered, "val2014"))
    picture(f"val2014/{coco_name('val2014', 7)}")
    with pytest.raises(UserError, match="1 of 2 images of val are missing"):
        load("vqa2", "vqa", "val", texts_needed=False, images_needed=True)
    loaded = load("vqa2", "vqa", "val", "on_missing_image=skip", texts_needed=False, images_needed=True)
    assert [example.id for example in loaded.examples] == ["70"]
    assert loaded.skipped == Counter({SKIPPED: 2})


def test_own_tables_and_datasets_have_the_same_setting():
    write("table.jsonl", json_lines([{"text": "A dog.", "file": "a.png"}, {"text": "A cat.", "file": "b.png"}]))
    picture("a.png")
    rows = {"text": ["A dog.", "A cat."], "image": [Image.new("RGB", (10, 10)), None]}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk("saved")
    for own in (
        ["file", "path=table.jsonl", "image_column=file"],
        ["huggingface", "path=saved", "image_column=image"],
    ):
        with pytest.raises(UserError, match="1 of 2 images of test are missing"):
            load(own[0], "captioning", "test", *own[1:], images_needed=True)
        loaded = load(own[0], "captioning", "test", *own[1:], "on_missing_image=skip", images_needed=True)
        assert [example.texts for example in loaded.examples] == [("A dog.",)]
        assert loaded.skipped == Counter({SKIPPED: 1})


def _name_images(name):
    """Return, by file, what loads it, and its content with an image of this name."""
    coco, split = official({1: ["A dog."]}), karpathy([karpathy_image(1, "test", ["A dog."])])
    coco["images"][0]["file_name"] = split["images"][0]["filename"] = name
    split["images"][0]["filepath"] = "val2014"
    pair = {"pairID": "1", "gold_label": "neutral", "sentence1": "A dog.", "sentence2": "A cat.", "Flickr30K_ID": name}
    asked = questions([(1, 1, "What?")], "test2014")
    asked["questions"][0]["image_id"] = name
    explained = vqa_e(name, "What?", ["red"], "A dog.")
    return {
        "captions.json": (("coco", "captioning", "test", "files.test=captions.json"), coco),
        "dataset_coco.json": (("coco", "captioning", "test"), split),
        "captions_test.jsonl": (
            ("flickr30k-jsonl", "captioning", "test"), json_lines([{"image": name, "captions": ["A dog."]}]),
        ),
        "results.token": (("flickr30k", "captioning", "test", "files.test=results.token"), f"{name}#0\tA dog.\n"),
        "snli_ve_test.jsonl": (("snli-ve", "snli-ve", "test"), json_lines([pair])),
        "v2_OpenEnded_mscoco_test-dev2015_questions.json": (("vqa2", "vqa", "test"), asked),
        "VQA-E_val_set.json": (("vqa-e", "vqa-e", "val"), [explained]),
    }  # fmt: skip


@pytest.mark.parametrize("file", _name_images(""))
def test_a_file_names_no_image_outside_of_the_dataset(file):
    given, content = _name_images("../../../secret.jpg")[file]
    write(file, content)
    with pytest.raises(UserError, match=r"field '\w+' is '.*/secret.*', which is outside of the dataset's folder"):
        load(*given, texts_needed=False)
