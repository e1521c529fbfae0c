import json
import shlex

import datasets
import pytest
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.sources import load_examples
from tests.conftest import REPOSITORY
from tests.data.sources.huggingface_folders import ROWS, _own_cache, read, saved  # noqa: F401 (a fixture)
from tests.data.sources.made import load, write


def test_what_save_to_disk_wrote_by_split():
    saved()
    assert [e.texts for e in read("saved").examples] == [("A dog.",), ("A hound.",), ("A cat.",)]
    assert [e.texts for e in read("saved", split="val").examples] == [("A cat.",)]
    with pytest.raises(
        UserError,
        match=r"data\.splits\.test=test: saved has only train, validation\. Give data\.splits\.test=NAME, one of these",
    ):
        read("saved", split="test")


def numbered(num=50):
    return datasets.Dataset.from_dict({"text": [f"Caption {n}." for n in range(num)]})


def write_train_only(kind):
    if kind == "saved":
        datasets.DatasetDict({"train": numbered()}).save_to_disk("folder")
    else:
        numbered().to_csv(write("folder/train.csv", ""))


@pytest.mark.parametrize("kind", ["saved", "files"])
def test_a_dataset_without_validation_says_how_to_hold_some_out(kind):
    write_train_only(kind)
    with pytest.raises(
        UserError,
        match=r"data\.splits\.val=validation: folder has only train\. .* data\.splits\.val=null to hold out data\.val_share",
    ):
        read("folder", split="val")
    parts = {
        split: {e.id for e in read("folder", "splits.val=null", "val_share=0.2", split=split).examples}
        for split in ("train", "val")
    }
    assert [len(parts[split]) for split in ("train", "val")] == [40, 10]
    assert not parts["train"] & parts["val"]


def test_a_single_saved_dataset_is_all_for_testing_and_shared_by_training_and_validation():
    numbered().save_to_disk("one")
    parts = {split: {e.texts for e in read("one", split=split).examples} for split in ("train", "val", "test")}
    assert [len(parts[split]) for split in ("train", "val", "test")] == [48, 2, 50]
    assert not parts["train"] & parts["val"]


def test_the_documented_commands_read_a_local_folder():
    pictures = [Image.new("RGB", (9, 9), (n, 0, 0)) for n in range(20)]
    rows = {"caption": [f"Caption {n}." for n in range(20)], "image": pictures}
    whole = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    datasets.DatasetDict({"train": whole, "test": whole.select(range(3))}).save_to_disk("my_dataset")
    told = (REPOSITORY / "docs" / "custom_data_and_models.md").read_text()
    training, testing = [shlex.split(line) for line in told.splitlines() if "data=huggingface data.path=" in line]
    config = compose_config("train", TrainConfig, training[2:])
    sizes = [len(load_examples(config.data, CAPTIONS, split).examples) for split in ("train", "val")]
    assert sizes == [19, 1]
    config = compose_config("evaluate", EvaluateConfig, testing[2:])
    assert len(load_examples(config.data, CAPTIONS, "test", texts_needed=False, images_needed=True).examples) == 3


def test_references_are_their_own_column():
    rows = {"text": ["A dog."], "told": [["A hound.", "A dog runs."]]}
    datasets.Dataset.from_dict(rows).save_to_disk("one")
    (example,) = read("one", "references_column=told", split="test").examples
    assert (example.texts, example.references) == (("A dog.",), ("A hound.", "A dog runs."))
    with pytest.raises(UserError, match=r"data\.references_column=said: one has no such column"):
        read("one", "references_column=said", split="test")


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_a_folder_of_files(kind):
    table = datasets.Dataset.from_dict(ROWS)
    name = write(f"folder/train.{'jsonl' if kind == 'json' else kind}", "")
    getattr(table, f"to_{kind}")(name)
    assert [e.texts for e in read("folder").examples] == [("A dog.",), ("A hound.",), ("A cat.",)]


def test_rows_of_a_group_are_captions_of_one_scene():
    saved()
    loaded = read("saved", "group_column=scene", "id_column=name", "image_column=image")
    assert {e.id: e.texts for e in loaded.examples} == {"a": ("A dog.", "A hound."), "b": ("A cat.",)}
    assert loaded.examples[1].image.open().size == (12, 10)


def test_ids_of_several_scenes_are_refused():
    saved()
    with pytest.raises(UserError, match=r"data\.id_column=name: 'a' is the id of several scenes"):
        read("saved", "id_column=name")


def test_lists_of_captions_are_scenes_and_repeats_are_said():
    datasets.Dataset.from_dict({"text": [["A dog.", "A hound.", "A dog."]]}).save_to_disk("lists")
    loaded = read("lists", split="test")
    assert loaded.examples[0].texts == ("A dog.", "A hound.")
    assert loaded.notes == ["1 captions repeated within their scene are used once"]


def test_bad_rows_are_said_or_counted():
    datasets.Dataset.from_dict({"text": ["A dog.", "  ", None]}).save_to_disk("bad")
    with pytest.raises(UserError, match=r"bad, row 1: field 'text' is empty\n.*row 2: field 'text' is null"):
        read("bad")
    loaded = read("bad", "on_bad_rows=skip")
    assert (len(loaded.examples), loaded.num_skipped) == (1, 2)


def test_columns_that_are_not_there_or_hold_no_images():
    saved()
    with pytest.raises(
        UserError,
        match=r"data\.text_column=caption: saved has no such column\. Use one of text, scene, name, image",
    ):
        read("saved", "text_column=caption")
    with pytest.raises(UserError, match=r"data\.image_column=name: holds Value.*, not images\. Cast"):
        read("saved", "image_column=name")


@pytest.mark.parametrize("path", ["nowhere/at/all", "x" * 5000, "no-such-dataset-of-anyone"])
def test_what_is_not_there_says_what_may_be_given(path):
    with pytest.raises(UserError, match=r"cannot be loaded \(.*Give a name on the hub"):
        read(path)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_damaged_files_are_sentences(kind, damage, tmp_path):
    texts = [f"A dog number {n} runs in the snow." for n in range(500)]
    table = datasets.Dataset.from_dict({"text": texts})
    if kind == "arrow":
        table.save_to_disk("folder")
        file = next(tmp_path.cwd().glob("folder/*.arrow"))
    else:
        table.to_parquet(write("folder/train.parquet", ""))
        file = tmp_path.cwd() / "folder/train.parquet"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        content[middle : middle + 200] = b"\xff" * 200
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"data\.path=folder|folder, row \d+"):
        read("folder")


def test_class_labels_give_their_names():
    label = datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])
    features = datasets.Features({"premise": datasets.Value("string"), "label": label, "tags": datasets.List(label)})
    rows = {"premise": ["A dog runs.", "A cat sits.", "A cow."], "label": [0, 2, -1], "tags": [[0], [2, 1], [0]]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk("saved")
    settings = ("text_column=premise", "target_column=label", "references_column=tags", "on_bad_rows=skip")
    split = load("huggingface", "custom", "test", "path=saved", *settings, "prompt='{label}'")
    assert [(e.targets, e.references, e.prompt) for e in split.examples] == [
        (("entailment",), ("entailment",), "entailment"),
        (("contradiction",), ("contradiction", "neutral"), "contradiction"),
    ]
    assert split.skipped == {"unusable rows": 1}  # -1: no label


@pytest.mark.parametrize("answers", [
    [{"answer": "two", "answer_confidence": "yes", "answer_id": 1}, {"answer": "2", "answer_confidence": "no", "answer_id": 2}],
    {"answer": ["two", "2"], "answer_confidence": ["yes", "no"], "answer_id": [1, 2]},
])  # fmt: skip
def test_answers_of_vqa_datasets_are_their_texts(answers):
    rows = {"text": ["Two dogs."], "question": ["How many?"], "answers": [answers]}
    datasets.Dataset.from_dict(rows).save_to_disk("saved")
    write("rows.jsonl", json.dumps({name: values[0] for name, values in rows.items()}) + "\n")
    settings = ("text_column=text", "target_column=answers", "prompt='{question}'")
    for source, path in (("huggingface", "saved"), ("file", "rows.jsonl")):
        (example,) = load(source, "vqa", "test", f"path={path}", *settings).examples
        assert (example.targets, example.references) == (("two", "2"), ("two", "2"))


def test_objects_without_an_answer_are_named():
    datasets.Dataset.from_dict({"text": ["a"], "question": ["q"], "answers": [[{"raw": "two"}]]}).save_to_disk("saved")
    with pytest.raises(UserError, match="row 0: field 'answer' is missing; the fields here are 'raw'"):
        load(
            "huggingface",
            "vqa",
            "test",
            "path=saved",
            "text_column=text",
            "target_column=answers",
            "prompt='{question}'",
        )
