"""What needs no training: the nearest training text, and the encoder choosing."""

import json
from pathlib import Path

import numpy as np
import pytest

from close_transfer.baselines import evaluate_baseline
from close_transfer.cli import compose_config
from close_transfer.config import BaselineConfig
from close_transfer.encoders import OpenClipEncoder
from close_transfer.errors import UserError
from close_transfer.results import read_results
from close_transfer.sources import load_examples
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
    captions = [text for e in load_examples(settings.data, "captioning", "train").examples for text in e.texts]
    told = encoder.encode_texts(captions)
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    asked = load_examples(settings.data, "captioning", "test").examples
    for line, example in zip(predictions(), asked, strict=True):
        (vector,) = encoder.encode_images([example.image.open()])
        assert line["id"] == example.id
        best = np.sort(told @ vector)[-1]
        chosen = encoder.encode_texts([line["candidates"][0]])[0]
        assert chosen @ vector / np.linalg.norm(chosen) == pytest.approx(float(best), rel=1e-4)
        assert line["candidates"][0] in captions
    kept = read_results(Path("out/results.json"), "results")
    assert kept.metrics["CIDEr"] == scores.metrics["CIDEr"]
    assert (kept.regime, kept.system) == ("T0", "nearest training text")


@pytest.mark.parametrize("task", ["vqa", "snli-ve"])
@pytest.mark.parametrize("baseline", ["nearest", "zero-shot"])
def test_questions_and_hypotheses_are_answered(task, baseline):
    scores = evaluate_baseline(config(f"task={task}", f"baseline={baseline}", "num_answers=7"))
    assert 0 <= scores.metrics["accuracy"] <= 100
    told = [line["candidates"][0] for line in predictions()]
    training = load_examples(config(f"task={task}").data, task, "train").examples
    known = {answer for example in training for answer in example.references}
    assert set(told) <= known
    if task == "vqa" and baseline == "zero-shot":
        assert len(set(told)) <= 7


def test_labels_are_as_frequent_as_in_training():
    evaluate_baseline(config("task=snli-ve", "baseline=zero-shot", "data.num_test=60"))
    told = [line["candidates"][0] for line in predictions()]
    training = [e.references[0] for e in load_examples(config("task=snli-ve").data, "snli-ve", "train").examples]
    for label in set(training):
        assert told.count(label) / len(told) == pytest.approx(training.count(label) / len(training), abs=0.05)


def test_captions_have_no_zero_shot_row():
    with pytest.raises(
        UserError, match=r"candidates of task=captioning are the training captions; that is baseline=nearest"
    ):
        evaluate_baseline(config("task=captioning", "baseline=zero-shot"))
