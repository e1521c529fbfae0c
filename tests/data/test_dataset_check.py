import gzip
import os
import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from close_transfer.cli import CONFIGS, compose_config
from close_transfer.config.check_data import CheckDataConfig
from close_transfer.config.data import DATASETS
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.data.dataset_check import check_data
from close_transfer.data.sources.published import ORIGINS
from close_transfer.reports.dataset_report import describe
from tests.commands import run_command
from tests.data.sources.made import (
    annotation,
    annotations,
    coco_name,
    data_config,
    json_lines,
    karpathy,
    karpathy_image,
    official,
    pair,
    picture,
    questions,
    write,
)


def check(choice, *overrides, leakage=False):
    """The check of what lies in the current folder, and what is said about it."""
    given = [f"data.{one}" for one in overrides]
    found = check_data(data_config(choice, *overrides), choice, given, leakage)
    return found, describe(found, leakage)


def commands(text):
    """Return the lines of the report that say which commands can be run."""
    lines = re.sub(r"\n {6}", " ", text).splitlines()
    yes = [line.removeprefix("  yes: ") for line in lines if line.startswith("  yes: ")]
    no = [line.strip() for line in lines if line.startswith("  no (")]
    return yes, no


def write_nocaps(num=4500, images=True):
    """NoCaps validation at its published size: 4,500 images of ten captions each (nocaps.org/download)."""
    domains = {i: ["in-domain", "near-domain", "out-domain"][i % 3] for i in range(num)}
    write("nocaps_val_4500_captions.json", official({i: ["A thing."] * 10 for i in range(num)}, "val", domain=domains))
    if images:
        first = Path(picture(f"val/{coco_name('val', 0)}"))
        for i in range(1, num):
            os.link(first, f"val/{coco_name('val', i)}")


def test_every_published_dataset_of_the_settings_can_be_checked():
    names = {name for name, dataset in DATASETS.items() if dataset.is_published}
    assert {path.stem for path in (CONFIGS / "data").glob("*.yaml") if OmegaConf.load(path).name in names} == set(
        ORIGINS
    )


def test_what_is_there_as_published_is_complete():
    write_nocaps()
    found, text = check("nocaps")
    assert found.is_complete
    assert [one.state for one in found.splits.values()] == ["complete"] * 2
    assert "4,500 images, 45,000 captions  as published" in text
    assert "1,500 in-domain, 1,500 near-domain, 1,500 out-of-domain" in text
    assert "4,500 of 4,500 found" in text
    assert text.endswith("\ncomplete")
    yes, no = commands(text)
    assert yes == [
        "python scripts/eval_image.py task=captioning data=nocaps scene=text",
        "python scripts/eval_image.py task=captioning data=nocaps",
    ]
    (why_not,) = no
    assert why_not.startswith(
        "no (the dataset has no split train): python scripts/train_text_only.py task=captioning data=nocaps"
    )


def test_fewer_than_published_is_a_subset_and_not_complete():
    write_nocaps(4493, images=False)
    found, text = check("nocaps")
    assert found.splits["test"].state == "subset"
    assert not found.is_complete
    assert "7 fewer than the published 4,500 images, 45,000 captions: a SUBSET" in text


def test_more_than_published_is_another_version():
    write_nocaps(4501, images=False)
    assert "MORE than the published 4,500 images" in check("nocaps")[1]


def test_what_is_missing_is_named_with_its_place_and_origin():
    found, text = check("snli")
    assert {one.state for one in found.splits.values()} == {"missing"}
    assert re.search(r"snli_1\.0_test\.jsonl +from https://nlp\.stanford\.edu/projects/snli/", text)
    yes, no = commands(text)
    assert not yes
    assert no[0].startswith("no (train is missing): python scripts/train_text_only.py task=snli-ve data=snli")


def test_one_missing_file_of_several_splits_is_named_once():
    text = check("coco")[1]
    assert len(re.findall(r"dataset_coco\.json +from", text)) == 1


PAIRS = [pair("entailment", f"A dog runs after {i} cats.", "An animal moves.", str(i)) for i in range(5)]


def test_damaged_entries_are_counted_with_the_line_and_the_rest_can_be_run():
    lines = [*PAIRS, pair("perhaps", "A dog.", "A cat.", "7"), pair("-", "A dog.", "A cat.", "8")]
    write("snli_1.0_test.jsonl", json_lines(lines) + '{"gold_label": "neut')
    found, text = check("snli")
    assert found.splits["test"].state == "damaged"
    assert len(found.splits["test"].examples) == 5
    assert "DAMAGED; 9,819 fewer than the published 9,824 pairs" in text
    assert "line 6: field 'gold_label' is 'perhaps'" in text
    assert "line 8: " in text
    assert "1 pairs without a gold label (-), left out" in text
    assert "2 unusable lines, left out" in text
    yes, _ = commands(text)
    assert yes == ["python scripts/eval_image.py task=snli-ve data=snli data.on_bad_rows=skip scene=text"]


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(json_lines(PAIRS * 50).encode(), mtime=0)[:-40],
        gzip.compress(b"", mtime=0),
        gzip.compress(b"\x00\xff nothing here", mtime=0),
    ],
    ids=["cut short", "empty", "no text"],
)
def test_a_file_without_anything_to_use_cannot_be_read(content):
    Path("snli_1.0_dev.jsonl.gz").write_bytes(content)
    found, text = check("snli")
    assert found.splits["val"].state == "unreadable"
    assert "CANNOT BE READ" in text
    assert "snli_1.0_dev.jsonl.gz" in text


def test_images_are_counted_and_some_are_opened():
    names = [f"{i}.jpg" for i in range(30)]
    write("captions_test.jsonl", json_lines([{"image": name, "captions": ["A dog."] * 5} for name in names]))
    for name in names[:12]:
        picture(f"flickr30k-images/{name}")
    write("flickr30k-images/3.jpg", b"no image")
    found, text = check("flickr30k-jsonl")
    pictures = found.splits["test"].images
    assert (pictures.num_named, pictures.num_there, len(pictures.unreadable)) == (30, 12, 1)
    assert "12 of 30 found; 1 of those opened CANNOT BE READ" in text
    assert "3.jpg: cannot be read as an image" in text
    assert any(one.startswith("no (images are damaged)") for one in commands(text)[1])


def test_karpathy_s_images_are_found_in_the_folder_their_entry_names():
    write("dataset_coco.json", karpathy([karpathy_image(i, "test", ["A dog."], "val2014") for i in (1, 2)]))
    picture(f"val2014/{coco_name('val2014', 1)}")
    pictures = check("coco")[0].splits["test"].images
    assert (pictures.num_named, pictures.num_there) == (2, 1)


def write_vqa(captions):
    write(
        "v2_OpenEnded_mscoco_val2014_questions.json",
        questions([(420, 42, "What is it?"), (70, 7, "How many?")], "val2014"),
    )
    answers = [annotation(420, 42, ["dog"] * 10), annotation(70, 7, ["2"] * 10)]
    write("v2_mscoco_val2014_annotations.json", annotations(answers, "val2014"))
    for image in (42, 7):
        picture(f"val2014/{coco_name('val2014', image)}")
    if captions:
        write("annotations/captions_val2014.json", official(captions, "val2014"))


def test_questions_without_captions_are_for_images_only():
    write_vqa({})
    found, text = check("vqa2")
    assert len(found.splits["val"].examples) == 2
    yes, no = commands(text)
    assert yes == ["python scripts/eval_image.py task=vqa data=vqa2 split=val"]
    assert any("(the captions of val are missing or cannot be read)" in one for one in no)
    assert "from https://cocodataset.org/#download" in text


@pytest.mark.parametrize(
    ("captions", "told"),
    [
        ({42: ["A dog."], 7: ["Two cats."]}, "yes: python scripts/eval_image.py task=vqa data=vqa2 split=val scene=text"),
        ({42: ["A dog."]}, "yes: python scripts/eval_image.py task=vqa data=vqa2 data.on_missing_scene=skip split=val scene=text"),
        ({1: ["A bird."]}, "no (no question of val is about an image with a caption)"),
    ],
)  # fmt: skip
def test_questions_are_matched_with_captions(captions, told):
    write_vqa(captions)
    text = check("vqa2")[1]
    assert told in re.sub(r"\n {6}", " ", text)
    missing = 2 - len({42, 7} & set(captions))
    assert (f"{missing} questions are about images without a caption" in text) == bool(missing)


def test_questions_without_answers_are_counted_and_cannot_be_scored():
    write_vqa({42: ["A dog."]})
    Path("v2_mscoco_val2014_annotations.json").unlink()
    found, text = check("vqa2")
    assert len(found.splits["val"].examples) == 2
    assert "no (the answers of val are missing)" in text


def test_training_text_in_the_test_split_is_counted():
    scenes = {
        "train": ["A black dog runs in the snow.", "Two men talk."],
        "test": ["A brown dog runs in the snow.", "Two men talk!"],
    }
    for split, told in scenes.items():
        write(f"captions_{split}.jsonl", json_lines([{"image": f"{split}.jpg", "captions": told}]))
    found, text = check("flickr30k-jsonl", leakage=True)
    assert (found.leaks.num_identical, found.leaks.num_near) == (1, 1)
    assert "1 of 2 texts of train are identical to one of the 2 different texts of test, and 1 nearly identical" in text
    assert "Two men talk." in text


def test_leakage_says_when_there_is_nothing_to_compare():
    assert "not checked, because it needs the texts" in check("snli", leakage=True)[1]


@pytest.mark.parametrize("choice", ["picturebook", "file"])
def test_own_and_built_in_data_have_nothing_to_compare_with(choice):
    needed = ["data.path=x.txt"] if choice == "file" else []
    config = compose_config("check_data", CheckDataConfig, [f"data={choice}", *needed])
    with pytest.raises(UserError, match=f"data={choice}: is not a published dataset.*coco.*and all"):
        check_data(config.data, choice)


@pytest.mark.slow
def test_the_script_s_exit_status_tells_complete_from_not_and_from_wrong(tmp_path, monkeypatch):
    (tmp_path / "nocaps").mkdir()
    monkeypatch.chdir(tmp_path / "nocaps")
    write_nocaps()
    monkeypatch.setenv("CLOSE_TRANSFER_DATA", str(tmp_path))
    done = run_command("check_data", "data=nocaps")
    assert (done.status, done.err) == (0, "")
    everything = run_command("check_data", "data=all")
    assert everything.status == 1
    assert f"1 of {len(ORIGINS)} are complete" in everything.out
    assert all(f"\n{choice}: " in f"\n{everything.out}" for choice in ORIGINS)
    wrong = run_command("check_data", "data=flikr30k")
    assert wrong.status == 2
    assert "Did you mean flickr30k?" in wrong.err


REAL = {
    ("coco-2017", "val"): ("complete", 5000),
    ("flickr30k-jsonl", "train"): ("complete", 29_000),
    ("flickr30k-jsonl", "val"): ("complete", 1014),
    ("flickr30k-jsonl", "test"): ("complete", 1000),
    ("snli", "val"): ("complete", 9842),
    ("snli", "test"): ("complete", 9824),
    ("snli-ve", "val"): ("subset", 13_977),
    ("snli-ve", "test"): ("subset", 14_186),
}


@pytest.mark.parametrize("choice", sorted({choice for choice, _ in REAL}))
def test_real_files_hold_what_is_published(choice):
    if "CLOSE_TRANSFER_DATA" not in os.environ:
        pytest.skip("CLOSE_TRANSFER_DATA is not set")
    config = compose_config("check_data", CheckDataConfig, [f"data={choice}"])
    found = check_data(config.data, choice)
    told = {(choice, split): (one.state, len(one.examples)) for split, one in found.splits.items()}
    expected = {key: value for key, value in REAL.items() if key[0] == choice}
    assert {key: told[key] for key in expected} == expected
    for command in commands(describe(found))[0]:
        script, *arguments = shlex.split(command)[1:]
        name, schema = ("train", TrainConfig) if "train" in script else ("evaluate", EvaluateConfig)
        compose_config(name, schema, arguments)
