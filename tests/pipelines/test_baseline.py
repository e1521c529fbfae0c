"""Baselines without training: the nearest training text, and the encoder choosing."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.baseline import BaselineConfig
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS, PAIRS
from close_transfer.data.sources import load_examples
from close_transfer.encoders import OpenClipEncoder
from close_transfer.evaluation.results import read_results
from close_transfer.pipelines.baseline import evaluate_baseline
from close_transfer.tasks.loading import load_task_examples
from tests.conftest import SMALL_DATA


def config(*settings):
    return compose_config(
        "baseline", BaselineConfig, [*SMALL_DATA, "device=cpu", "num_bootstrap=20", "output=out", *settings]
    )


def predictions():
    return [json.loads(line) for line in Path("out/predictions.jsonl").read_text().splitlines()]


def test_the_nearest_training_caption_is_the_answer():
    scores = evaluate_baseline(config("task=captioning"))
    settings = config("task=captioning")
    encoder = OpenClipEncoder(settings.clip)
    captions = [text for e in load_examples(settings.data, CAPTIONS, "train").examples for text in e.texts]
    told = encoder.encode_texts(captions)
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    asked = load_examples(settings.data, CAPTIONS, "test").examples
    for line, example in zip(predictions(), asked, strict=True):
        (vector,) = encoder.encode_images([example.image.open()])
        assert line["id"] == example.id
        best = np.sort(told @ vector)[-1]
        chosen = encoder.encode_texts([line["candidates"][0]])[0]
        assert chosen @ vector / np.linalg.norm(chosen) == pytest.approx(float(best), rel=1e-4)
        assert line["candidates"][0] in captions
    kept = read_results(Path("out/results.json"), "results")
    assert kept.metrics["CIDEr"] == scores.metrics["CIDEr"]
    assert (kept.data_regime, kept.system) == ("T0", "nearest training text")


@pytest.mark.parametrize("task", ["vqa", "snli-ve"])
@pytest.mark.parametrize("baseline", ["nearest", "zero-shot"])
def test_questions_and_hypotheses_are_answered(task, baseline):
    scores = evaluate_baseline(config(f"task={task}", f"baseline={baseline}", "num_answers=7"))
    assert 0 <= scores.metrics["accuracy"] <= 100
    told = [line["candidates"][0] for line in predictions()]
    training = load_task_examples(task, config(f"task={task}").data, "train").examples
    known = {answer for example in training for answer in example.references}
    assert set(told) <= known
    if task == "vqa" and baseline == "zero-shot":
        assert len(set(told)) <= 7


def test_labels_are_as_frequent_as_in_training():
    evaluate_baseline(config("task=snli-ve", "baseline=zero-shot", "data.num_test=60"))
    told = [line["candidates"][0] for line in predictions()]
    training = [e.references[0] for e in load_examples(config("task=snli-ve").data, PAIRS, "train").examples]
    for label in set(training):
        assert told.count(label) / len(told) == pytest.approx(training.count(label) / len(training), abs=0.05)


@pytest.mark.parametrize(
    ("task", "system", "data_regime"),
    [("snli-ve", "zero-shot, the encoder alone, cut by shares over the test images", "T1"),
     ("vqa", "zero-shot, the encoder alone", "T0")],
)  # fmt: skip
def test_thresholds_over_the_test_images_raise_the_data_regime(task, system, data_regime):
    evaluate_baseline(config(f"task={task}", "baseline=zero-shot"))
    kept = read_results(Path("out/results.json"), "results")
    assert (kept.system, kept.data_regime) == (system, data_regime)


def test_captions_have_no_zero_shot_row():
    with pytest.raises(
        UserError, match=r"the candidates of task=captioning would be the training captions\. Use baseline=nearest"
    ):
        evaluate_baseline(config("task=captioning", "baseline=zero-shot"))


COLOURS = ("red", "blue", "green", "yellow")


def table(name, places):
    """An image of one colour a row, with a caption and a question."""
    rows = []
    for number, (place, colour) in enumerate((place, colour) for place in places for colour in COLOURS):
        file = f"{Path(name).stem}-{number}.png"
        Image.new("RGB", (32, 32), colour).save(file)
        rows.append(
            {"text": f"A {colour.title()} Ball {place}", "file": file, "asks": "Colour?", "says": colour.title()}
        )
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def of_table(*settings):
    given = [
        "data=file",
        "data.path=asked.jsonl",
        "data.image_column=file",
        "device=cpu",
        "num_bootstrap=5",
        "output=out",
    ]
    return compose_config("baseline", BaselineConfig, [*given, *settings])


def test_custom_images_are_answered_from_custom_training_texts():
    known = table("known.jsonl", [f"near house {n}" for n in range(6)])
    table("asked.jsonl", ["near house 3", "at sea"])
    evaluate_baseline(of_table("data@training=file", f"training.path={known}"))
    training = {json.loads(line)["text"] for line in Path(known).read_text().splitlines()}
    assert {line["candidates"][0] for line in predictions()} <= training
    leakage = json.loads(Path("out/results.json").read_text())["leakage"]
    assert leakage["checked"] and leakage["num_identical"] > 0


@pytest.mark.parametrize(
    "more",
    [[], ["data@training=file", "training.path=./asked.jsonl"], ["split=train"],
     ["data.val_path=known.jsonl", "split=val", "data@training=file", "training.path=known.jsonl"]],
)  # fmt: skip
def test_test_examples_are_not_training_texts(more):
    table("asked.jsonl", ["at sea"])
    table("known.jsonl", ["at sea"])
    with pytest.raises(UserError, match=r"would be its own reference\. Give data@training=file training\.path="):
        evaluate_baseline(of_table(*more))


def test_a_held_out_share_can_be_evaluated():
    table("asked.jsonl", ["at sea", "near houses", "in the snow"])
    evaluate_baseline(of_table("split=val", "data.val_share=0.3"))
    assert len(predictions()) == 4


def test_datasets_without_splits_are_distinguished_from_others():
    for name in ("one", "other"):
        datasets.Dataset.from_list([{"text": f"A ball {n}"} for n in range(30)]).save_to_disk(name)
    given = ["data=huggingface", "data.path=one", "device=cpu", "output=out"]
    for more in ([], ["data@training=huggingface", "training.path=one"]):
        with pytest.raises(
            UserError, match=r"data=huggingface data\.path=one split=test is the test, and .*own reference"
        ):
            evaluate_baseline(compose_config("baseline", BaselineConfig, [*given, *more]))
    with pytest.raises(UserError) as told:  # past that, there are no images
        more = ["data@training=huggingface", "training.path=other"]
        evaluate_baseline(compose_config("baseline", BaselineConfig, [*given, *more]))
    assert "own reference" not in str(told.value)


def test_images_of_the_training_split_are_refused():
    with pytest.raises(UserError, match=r"data=picturebook split=train is the test.*Give split=test or split=val"):
        evaluate_baseline(config("task=captioning", "split=train"))


def test_settings_of_a_custom_task_are_used():
    table("known.jsonl", [f"near house {n}" for n in range(6)])
    table("asked.jsonl", ["at sea"])
    columns = [f"{group}.{one}" for group in ("data", "training") for one in ("prompt={asks}", "target_column=says")]
    given = ["task=custom", "data@training=file", "training.path=known.jsonl", *columns]
    for more, metrics in (
        (["task.metric=text"], {"chrF", "exact_match"}),
        (["task.metric=accuracy", "task.labels=[Red,Blue,Green,Yellow]", "baseline=zero-shot"],
         {"accuracy", *(f"accuracy/{colour.title()}" for colour in COLOURS)}),
    ):  # fmt: skip
        assert set(evaluate_baseline(of_table(*given, *more)).metrics) == metrics
        assert {line["candidates"][0].lower() for line in predictions()} <= set(COLOURS)
    assert "chrF" in evaluate_baseline(of_table(*given, "task.language=de")).metrics


def test_unreadable_training_data_are_named():
    table("asked.jsonl", ["at sea"])
    with pytest.raises(UserError, match=r"^training: .*nowhere\.jsonl: there is no such file"):
        evaluate_baseline(of_table("data@training=file", "training.path=nowhere.jsonl"))
