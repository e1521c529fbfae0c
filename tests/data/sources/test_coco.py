import pytest

from close_transfer.core.errors import UserError
from tests.data.sources.made import coco_name, karpathy, karpathy_image, load, official, picture, write

CAPTIONS = {42: ["A dog runs.", "A  dog\nplays."], 7: ["Two cats sleep."]}


def test_official_annotations_give_an_example_an_image_with_all_its_captions():
    write("annotations/captions_val2014.json", official(CAPTIONS))
    loaded = load("coco", "captioning", "test", "files.test=annotations/captions_val2014.json")
    assert {e.id: e.texts for e in loaded.examples} == {
        "42": ("A dog runs.", "A dog plays."),
        "7": ("Two cats sleep.",),
    }
    assert all(e.references == e.texts for e in loaded.examples)
    assert loaded.num_skipped == 0


def test_images_are_found_by_their_names_below_the_split_s_folder():
    write("captions.json", official(CAPTIONS))
    picture(f"val2014/{coco_name('val2014', 42)}", size=(20, 10))
    dog, cats = load("coco", "captioning", "test", "files.test=captions.json").examples
    assert dog.image.open().size == (20, 10)
    assert len(dog.image.digest()) == 64
    with pytest.raises(UserError, match=r"val2014/COCO_val2014_000000000007\.jpg: there is no such image"):
        cats.image.digest()


def test_an_image_s_key_is_the_same_in_any_folder(tmp_path):
    write(str(tmp_path / "captions.json"), official(CAPTIONS))
    write("captions.json", official(CAPTIONS))
    here, there = (
        load("coco", "captioning", "test", "files.test=captions.json", f"root={root}").examples
        for root in (".", tmp_path)
    )
    assert [e.image.key for e in here] == [e.image.key for e in there]


def test_images_without_captions_are_left_out_and_said():
    write("captions.json", official(CAPTIONS | {8: []}))
    loaded = load("coco", "captioning", "val", "files.val=captions.json")
    assert len(loaded.examples) == 2
    assert loaded.notes == ["1 images without a caption are left out"]


def karpathy_file():
    parts = [("train", 3), ("restval", 2), ("val", 1), ("test", 1)]
    names = [split for split, count in parts for _ in range(count)]
    return karpathy(
        [karpathy_image(n, split, [f"Caption {n}.", f"Text {n}."]) for n, split in enumerate(names, start=1)]
    )


@pytest.mark.parametrize(
    ("split", "setting", "ids"),
    [
        ("train", "train", ["1", "2", "3"]),
        ("train", "train+restval", ["1", "2", "3", "4", "5"]),
        ("val", "train+restval", ["6"]),
        ("test", "train+restval", ["7"]),
    ],
)
def test_karpathy_s_splits_with_and_without_restval(split, setting, ids):
    write("dataset_coco.json", karpathy_file())
    loaded = load("coco", "captioning", split, f"split={setting}")
    assert [e.id for e in loaded.examples] == ids
    assert loaded.examples[0].texts == (f"Caption {ids[0]}.", f"Text {ids[0]}.")


def test_karpathy_s_file_names_the_image_s_folder():
    write("dataset_coco.json", karpathy([karpathy_image(5, "test", ["A dog."], folder="val2014")]))
    picture(f"val2014/{coco_name('val2014', 5)}")
    assert load("coco", "captioning", "test").examples[0].image.open().size == (40, 30)


def test_restval_of_official_files_is_refused():
    write("captions.json", official(CAPTIONS))
    with pytest.raises(
        UserError, match=r"data\.split=train\+restval: .* has no restval, which only Karpathy's file has\. Give "
    ):
        load("coco", "captioning", "train", "files.train=captions.json", "split=train+restval")


def test_a_split_that_the_file_lacks_is_said_with_those_it_has():
    write("dataset_coco.json", karpathy([karpathy_image(1, "train", ["A dog."])]))
    with pytest.raises(UserError, match=r"there is no image of split=test, only \{'train': 1\}\. Give another split"):
        load("coco", "captioning", "test")


def broken(change):
    document = official(CAPTIONS)
    change(document)
    return document


FAULTS = {
    "caption": (lambda d: d["annotations"][1].update(caption=5), r"annotations\[1\]: field 'caption' is a number \(5\), not text"),
    "only caption": (lambda d: d["annotations"][2].update(caption=" "), r"annotations\[2\]: field 'caption' is empty"),
    "stray": (lambda d: d["annotations"][0].update(image_id=99), r"annotations\[0\]: field 'image_id' is 99, which is not the id of a usable image"),
    "id": (lambda d: d["images"][0].pop("id"), r"images\[0\]: field 'id' is missing; the fields here are 'license'"),
    "twice": (lambda d: d["images"].append(d["images"][0]), r"images\[2\]: field 'id' is '42', which another entry has too"),
    "number": (lambda d: d["images"].append(5), r"images\[2\]: a number, not an object with the field 'id'"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_an_entry_is_said_or_counted(name):
    change, message = FAULTS[name]
    write("captions.json", broken(change))
    with pytest.raises(UserError, match=message):
        load("coco", "captioning", "test", "files.test=captions.json")
    loaded = load("coco", "captioning", "test", "files.test=captions.json", "on_bad_rows=skip")
    document = broken(change)
    used = sum(len(e.texts) for e in loaded.examples)
    lost = {"caption": 1, "only caption": 1, "stray": 1, "id": 3, "twice": 1, "number": 1}[name]
    assert loaded.num_skipped == lost
    # An image that cannot be used takes its captions with it, and they are counted too.
    assert used == len(document["annotations"]) - (lost if name in ("caption", "only caption", "stray") else 0) - (
        2 if name == "id" else 0
    )
    assert all(e.texts for e in loaded.examples)


@pytest.mark.parametrize("key", ["images", "annotations"])
def test_other_json_is_answered_with_its_keys(key):
    document = official(CAPTIONS)
    del document[key]
    write("captions.json", document)
    with pytest.raises(UserError, match=rf"a list under '{key}' is missing; its keys are 'info', 'licenses'"):
        load("coco", "captioning", "test", "files.test=captions.json")


def test_packed_files_are_found_under_the_plain_name():
    write("dataset_coco.json.gz", karpathy_file())
    assert len(load("coco", "captioning", "train").examples) == 3


def test_files_may_lie_straight_in_the_root():
    write("captions_val2017.json.gz", official(CAPTIONS))
    assert len(load("coco-2017", "captioning", "test").examples) == 2


def test_a_missing_file_names_the_script_that_checks_the_data():
    with pytest.raises(UserError) as caught:
        load("coco", "captioning", "test")
    assert "data.files.test=dataset_coco.json: there is no such file" in str(caught.value)
    assert "python scripts/check_data.py data=coco" in str(caught.value)


def test_a_split_without_a_file_is_said():
    with pytest.raises(UserError, match=r"split=train: data=nocaps has no file for this split\. Use one of val, test"):
        load("nocaps", "captioning", "train")


def test_nocaps_domains_are_categories_under_the_names_that_tables_use():
    captions = {0: ["A tool."], 1: ["A cat."], 2: ["A lynx."]}
    domains = {0: "near-domain", 1: "in-domain", 2: "out-domain"}
    document = official(captions, domain=domains, open_images_id={i: f"{i:016x}" for i in captions})
    write("nocaps_val_4500_captions.json", document)
    loaded = load("nocaps", "captioning", "test")
    assert [e.category for e in loaded.examples] == ["near-domain", "in-domain", "out-of-domain"]


def test_nocaps_other_domains_are_refused():
    write("nocaps_val_4500_captions.json", official({0: ["A tool."], 1: ["A cat."]}, domain={0: "far", 1: "in-domain"}))
    with pytest.raises(
        UserError, match=r"images\[0\]: field 'domain' is 'far'; allowed are in-domain, near-domain, out-domain"
    ):
        load("nocaps", "captioning", "val")


def test_other_tasks_name_the_data_that_serve_them():
    with pytest.raises(
        UserError,
        match=r"task=vqa: data=coco serves only captioning, captioning-multi\. .*data=picturebook, file, huggingface, vqa2",
    ):
        load("coco", "vqa", "train")
    with pytest.raises(UserError, match=r"split=test-novel: data=coco does not have this split\. Use split=test"):
        load("coco", "captioning", "test-novel")
