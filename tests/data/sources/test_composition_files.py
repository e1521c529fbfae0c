"""Small files in the formats of ARO, Winoground and SugarCrepe."""

import json
from pathlib import Path

import pytest
from PIL import Image

from close_transfer.core.errors import UserError
from close_transfer.data.sources.composition_files import read_composition_files


@pytest.fixture(autouse=True)
def images():
    Path("images").mkdir()
    image = Image.new("RGB", (20, 10), "red")
    image.paste("blue", (10, 0, 20, 10))
    for name in ("1.jpg", "2.jpg", "ex_0_img_0.png", "ex_0_img_1.png"):
        image.save(Path("images", name), quality=95)


ARO = {
    "image_id": "1", "image_path": "1.jpg", "bbox_x": 12, "bbox_y": 1, "bbox_w": 6, "bbox_h": 8, "relation_name": "on",
    "true_caption": "the dog is on the mat", "false_caption": "the mat is on the dog",
}  # fmt: skip
WINOGROUND = {
    "id": 0, "image_0": "ex_0_img_0", "image_1": "ex_0_img_1", "caption_0": "an old person kisses a young person",
    "caption_1": "a young person kisses an old person", "tag": "Adjective-Age", "collapsed_tag": "Object",
}  # fmt: skip
SUGAR_CREPE = {"0": {"filename": "2.jpg", "caption": "a red bus", "negative_caption": "a red bus on ice"}}


def read(name, content):
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content))
    return read_composition_files([Path(name)], Path("images"))


def test_aro_shows_the_box_of_each_entry():
    test = read("visual_genome_attribution.json", [ARO, {**ARO, "bbox_x": 0}])
    first, second = test.choices
    assert (first.stratum, first.captions) == ("attribute", ("the dog is on the mat", "the mat is on the dog"))
    assert read("visual_genome_relation.json", [ARO]).choices[0].stratum == "relation"
    shown = first.image.open()
    assert shown.size == (6, 8) and shown.getpixel((3, 4))[2] > 200
    assert second.image.open().getpixel((3, 4))[0] > 200
    assert first.image.key != second.image.key and first.image.digest() != second.image.digest()


def test_winoground_gives_twins_and_sugar_crepe_choices():
    (twin,) = read("examples.jsonl", json.dumps(WINOGROUND) + "\n").twins
    assert (twin.id, twin.stratum, twin.captions[1][:7]) == ("winoground-0", "Object", "a young")
    assert [Path(image.key).name for image in twin.images] == ["ex_0_img_0.png", "ex_0_img_1.png"]
    (choice,) = read("add_att.json", SUGAR_CREPE).choices
    assert (choice.stratum, choice.captions) == ("add_att", ("a red bus", "a red bus on ice"))
    assert choice.image.open().size == (20, 10)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", [{**ARO, "image_path": "9.jpg"}], r"a\.json, \[0\]: images/9\.jpg: there is no such image"),
        ("a.json", [{**ARO, "bbox_w": "6"}], "not four numbers"),
        ("a.json", [{**ARO, "bbox_w": True}], "not four numbers"),
        ("a.json", [{**ARO, "bbox_w": float("nan")}], "12, 1, nan, 8, not four numbers"),
        ("a.json", [{**ARO, "bbox_x": -float("inf")}], "not four numbers"),
        ("a.json", [{**ARO, "bbox_x": 10**400}], "10000000000000000000, 1, 6, 8, not four numbers"),
        ("a.json", [{**ARO, "bbox_w": 0}], "the box is 0 x 8 pixels"),
        ("a.json", [{**ARO, "true_caption": ""}], "field 'true_caption' is empty"),
        ("a.json", [3], "not an object"),
        ("a.json", [], "there is no item in it"),
        ("a.json", "3", "holds neither a list nor an object"),
        ("a.json", {"0": {"filename": "2.jpg", "caption": "x"}}, "entry 0: field 'negative_caption' is missing"),
        ("a.json", {"\ud800": SUGAR_CREPE["0"]}, "field 'name of the entry' is not UTF-8"),
        ("twins.json", SUGAR_CREPE, r"twins\.json: a metric of pairs of images is named twins\. Give"),
        ("a.jsonl", 2 * (json.dumps(WINOGROUND) + "\n"), "line 2: its id 'winoground-0' is that of another entry"),
        ("a.jsonl", "3", "line 1"),
        ("a.jsonl", "[", "line 1"),
        ("a.jsonl", json.dumps({**WINOGROUND, "image_1": "ex_9_img_9"}), "ex_9_img_9.png: there is no such image"),
    ],
)
def test_a_wrong_entry_is_named(name, content, message):
    with pytest.raises(UserError, match=message):
        read(name, content)


@pytest.mark.parametrize(
    "box", [{"bbox_x": 100}, {"bbox_x": -6}, {"bbox_w": 10**6}, {"bbox_w": 30_000, "bbox_h": 30_000}, {"bbox_w": 0.1}]
)
def test_a_box_beyond_its_image_is_refused(box):
    (item,) = read("visual_genome_relation.json", [ARO | box]).choices
    with pytest.raises(
        UserError, match=r"images/1\.jpg: the box .* is not inside the image of 20 x 10 pixels\. Correct"
    ):
        item.image.open()


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "{here}/secret.png"])
def test_images_outside_of_their_folder_are_refused(name):
    name = name.format(here=Path.cwd())
    Image.new("RGB", (8, 8)).save("secret.png")
    Path("images", "a").mkdir()
    files = {
        "a.json": ("filename", {"0": {**SUGAR_CREPE["0"], "filename": name}}),
        "b.json": ("image_path", [{**ARO, "image_path": name}]),
        "c.jsonl": ("image_1", json.dumps({**WINOGROUND, "image_1": name})),
    }
    for file, (field, content) in files.items():
        with pytest.raises(UserError, match=rf"field '{field}' is .*, which is outside of the dataset's folder"):
            read(file, content)
