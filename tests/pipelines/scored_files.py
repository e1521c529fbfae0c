"""Files of predictions and references at test size, and their scores."""

import gzip
import json
import os
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.pipelines.score_predictions import score_predictions

DATA = os.environ.get("CLOSE_TRANSFER_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="CLOSE_TRANSFER_DATA is unset: it names the folder of real data")

CAPTIONS = {"1": ["a red ball on the grass", "a ball lies there"], "2": ["two dogs run", "dogs are running fast"]}
ANSWERS = {"11": ["yes"] * 10, "12": ["2"] * 6 + ["3"] * 4, "13": ["red"] * 5 + ["dark red"] * 5}


def write(name, value):
    """Write JSON or JSON Lines, compressed if the name ends in .gz, and return the path as text."""
    text = "".join(json.dumps(one) + "\n" for one in value) if ".jsonl" in name else json.dumps(value)
    (gzip.open if name.endswith(".gz") else open)(name, "wt", encoding="utf-8").write(text)
    return name


def score(*settings):
    """Score and return the examples and the content of results.json."""
    config = compose_config(
        "score_predictions", ScorePredictionsConfig, ["output=scored", "num_bootstrap=20", *settings]
    )
    return score_predictions(config), json.loads(Path("scored/results.json").read_text())


def annotations(answers=ANSWERS):
    entries = [
        {"question_id": int(name), "answer_type": "other", "question_type": "what", "answers": [{"answer": a, "answer_id": i} for i, a in enumerate(given)]}
        for name, given in answers.items()
    ]  # fmt: skip
    return write("annotations.json", {"annotations": entries, "data_subtype": "val2014"})


def questions(ids=ANSWERS):
    asked = [{"question_id": int(name), "image_id": 7, "question": "what is it?"} for name in ids]
    return write("questions.json", {"questions": asked})


def vqa(answers, *settings, references=None):
    predictions = write("answers.json", [{"question_id": int(name), "answer": text} for name, text in answers])
    return score("task=vqa", f"predictions={predictions}", f"references={references or annotations()}", *settings)


def coco():
    images = [{"id": int(name), "file_name": f"{name}.png"} for name in CAPTIONS]
    told = [{"image_id": int(name), "caption": text} for name, texts in CAPTIONS.items() for text in texts]
    return write("captions.json.gz", {"images": images, "annotations": told})


def karpathy():
    images = [
        {"cocoid": int(name), "filename": f"{name}.png", "split": "test", "sentences": [{"raw": t} for t in texts]}
        for name, texts in CAPTIONS.items()
    ]
    other = {"cocoid": 3, "filename": "3.png", "split": "val", "sentences": [{"raw": "a cat"}]}
    return write("dataset_coco.json", {"images": [other, *images]})


WRITTEN = {"1": "a red ball", "2": "two dogs are running"}
