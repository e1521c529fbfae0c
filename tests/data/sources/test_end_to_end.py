"""A run from files in the original formats to scores on images, for every family of tasks."""

import json

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train
from tests.conftest import SMALL_LOOP, SMALL_MODEL
from tests.data.sources.made import (
    annotation,
    annotations,
    coco_name,
    json_lines,
    karpathy,
    karpathy_image,
    official,
    pair,
    picture,
    questions,
    vqa_e,
    write,
)

THINGS = ["dog", "cat", "tree", "house", "ball", "boat", "duck", "star"]
COLOURS = ["red", "green", "blue", "yellow"]
NUMBERS = range(1, 17)


def told(number):
    thing, colour = THINGS[number % 8], COLOURS[number % 4]
    return [f"A {colour} {thing} on the grass.", f"There is one {colour} {thing}."]


def coco():
    images = [karpathy_image(n, "train" if n < 13 else "val", told(n)) for n in NUMBERS]
    images += [karpathy_image(n, "test", told(n), "val2014") for n in (90, 91)]
    write("dataset_coco.json", karpathy(images))
    for number in (90, 91):
        picture(f"val2014/{coco_name('val2014', number)}", COLOURS[number % 4])


def entailment():
    for split in ("train", "dev", "test"):
        lines = [
            pair(("entailment", "neutral", "contradiction")[n % 3], told(n)[0], told(n + n % 3)[1], f"{split}{n}")
            | {"Flickr30K_ID": str(n)}
            for n in NUMBERS
        ]
        write(f"snli_ve_{split}.jsonl", json_lines([*lines, lines[0] | {"gold_label": "-", "pairID": "none"}]))
    for number in NUMBERS:
        picture(f"flickr30k-images/{number}.jpg", COLOURS[number % 4])


def vqa():
    for split in ("train", "val"):
        asked = [(10 * n, n, "What colour is it?") for n in NUMBERS]
        answers = [annotation(10 * n, n, [COLOURS[n % 4]] * 9 + [""]) for n in NUMBERS]
        write(f"v2_OpenEnded_mscoco_{split}2014_questions.json", questions(asked, f"{split}2014"))
        write(f"v2_mscoco_{split}2014_annotations.json", annotations(answers))
        write(f"annotations/captions_{split}2014.json", official({n: told(n) for n in NUMBERS}))
    for number in NUMBERS:
        picture(f"val2014/{coco_name('val2014', number)}", COLOURS[number % 4])


def explanations():
    for split in ("train", "val"):
        entries = [vqa_e(n, "What colour is it?", [COLOURS[n % 4]] * 10, told(n)[0]) for n in NUMBERS]
        write(f"VQA-E_{split}_set.json", entries)
    for number in NUMBERS:
        picture(f"val2014/{coco_name('val2014', number)}", COLOURS[number % 4])


def news():
    for split in ("train", "val", "test"):
        write(
            f"{split}_data.json",
            [
                {"id": n, "caption": told(n)[0], "image_path": f"./bbc/images/{n}.jpg", "article_path": f"./bbc/articles/{n}.txt"}
                for n in NUMBERS
            ],
        )  # fmt: skip
    for number in NUMBERS:
        write(f"bbc/articles/{number}.txt", f"News of a {THINGS[number % 8]}.\nMore.\n")
        picture(f"bbc/images/{number}.jpg", COLOURS[number % 4])


FAMILIES = {
    "captioning": (coco, "coco", [], {"CIDEr", "BLEU-4"}),
    "captioning-multi": (coco, "coco", [], {"CIDEr", "BLEU-4"}),
    "snli-ve": (entailment, "snli-ve", [], {"accuracy", "accuracy/neutral"}),
    "vqa": (vqa, "vqa2", ["split=val"], {"accuracy", "accuracy/other"}),
    "vqa-e": (explanations, "vqa-e", [], {"accuracy"}),
    "visual-news": (news, "visual-news", [], {"CIDEr"}),
}


def train_on(task, data, *overrides):
    roots = ["data.root=.", *(["data.captions_root=."] if data == "vqa2" else [])]
    settings = [*SMALL_LOOP, *SMALL_MODEL, "train.max_steps=2", "device=cpu"]
    return train(
        compose_config("train", TrainConfig, [f"task={task}", f"data={data}", *roots, *settings, *overrides]), "text"
    )


def evaluate_on_pictures(task, *overrides):
    return evaluate(
        compose_config("evaluate", EvaluateConfig, [f"task={task}", "num_bootstrap=10", "device=cpu", *overrides])
    )


@pytest.mark.parametrize("task", FAMILIES)
def test_from_original_files_to_scores_on_images(task, capsys):
    make, data, settings, metrics = FAMILIES[task]
    make()
    folder, outcome = train_on(task, data)
    assert outcome.state.step == 2
    assert (folder / "best" / "model.safetensors").is_file()
    if task == "snli-ve":
        assert "1 pairs without a gold label (-) skipped" in capsys.readouterr().out
    evaluation = evaluate_on_pictures(task, *settings)
    results = json.loads(next(folder.glob("eval-*/results.json")).read_text())
    assert results["data"] == data
    assert results["num_examples"] == len(evaluation.predictions) == (2 if data == "coco" else len(NUMBERS))
    assert results["num_skipped"] == (1 if task == "snli-ve" else 0)
    assert set(results["metrics"]) >= metrics


def test_training_on_images_that_are_not_there_names_the_first():
    coco()
    settings = ["data=coco", "data.root=.", *SMALL_LOOP, *SMALL_MODEL, "device=cpu"]
    with pytest.raises(UserError, match=r"train2014/COCO_train2014_000000000001\.jpg: there is no such image"):
        train(compose_config("train", TrainConfig, settings), "image")


def test_a_damaged_image_is_named():
    coco()
    train_on("captioning", "coco")
    name = f"val2014/{coco_name('val2014', 91)}"
    write(name, b"\xff\xd8\xff\xe0 no image")
    with pytest.raises(UserError, match=rf"{name}: cannot be read as an image"):
        evaluate_on_pictures("captioning")
