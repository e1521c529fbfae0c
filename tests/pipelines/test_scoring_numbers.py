"""Scores of predictions: by hand, by vectors encoded here, and by the official tools."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from close_transfer.core.errors import UserError
from tests.commands import run_command
from tests.pipelines.scored_files import (
    DATA,
    WRITTEN,
    coco,
    needs_data,
    score,
    vqa,
    write,
)
from tests.settings import make_encoder


def test_clipscore_of_drawn_pictures(tmp_path):
    """2.5 times the cosine of image and caption, by vectors encoded here."""
    from close_transfer.data.picturebook.captions import captions
    from close_transfer.data.picturebook.drawing import draw_scene
    from close_transfer.data.picturebook.scenes import scenes
    from close_transfer.encoders import OpenClipEncoder

    drawn = list(scenes("test", 4, 0))
    told = [[caption.text for caption in captions(scene)] for scene in drawn]
    for number, scene in enumerate(drawn):
        draw_scene(scene, 64).save(tmp_path / f"{number}.png")
    references = write("r.jsonl", [{"id": n, "image": f"{n}.png", "references": t[1:]} for n, t in enumerate(told)])
    predictions = write("p.jsonl", [{"id": n, "prediction": texts[0]} for n, texts in enumerate(told)])
    settings = [f"images={tmp_path}", "clip=picturebook", "extra_metrics=clipscore", "device=cpu"]
    _, results = score(f"predictions={predictions}", f"references={references}", *settings)
    encoder = OpenClipEncoder(make_encoder(batch_size=8))
    texts = encoder.encode_texts([f"A photo depicts {texts[0]}" for texts in told])
    images = encoder.encode_images([draw_scene(scene, 64) for scene in drawn])
    cosines = (texts * images).sum(1) / np.linalg.norm(texts, axis=1) / np.linalg.norm(images, axis=1)
    assert results["metrics"]["CLIPScore"] == pytest.approx(100 * np.mean(2.5 * np.maximum(cosines, 0)), rel=1e-4)
    with pytest.raises(UserError, match="extra_metrics=clipscore needs the images and an encoder"):
        score("predictions=p.jsonl", "references=r.jsonl", "extra_metrics=clipscore")


def test_captions_are_scored_by_the_command_and_written():
    official = [{"image_id": int(name), "caption": text} for name, text in WRITTEN.items()]
    files = [f"predictions={write('p.json', official)}", f"references={coco()}"]
    finished = run_command("score_predictions", "output=scored", "num_bootstrap=20", *files)
    assert finished.status == 0, finished.err
    results = json.loads(Path("scored/results.json").read_text())
    metrics = results["metrics"]
    # By hand: all seven words are known, and the references nearest in length have eight.
    assert metrics["BLEU-1"] == pytest.approx(100 * np.exp(1 - 8 / 7), rel=1e-6)
    for name, value in metrics.items():
        assert re.search(rf"{name} +{value:.1f} ", finished.out)
    lines = [json.loads(line) for line in Path("scored/scores.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["1", "2"]
    assert np.mean([line["CIDEr"] for line in lines]) == pytest.approx(metrics["CIDEr"])
    assert (results["num_examples"], results["num_skipped"], results["skipped"]) == (2, 0, {})
    assert (results["system"], results["data"], results["data_regime"], results["seed"]) == (
        "p",
        "captions",
        None,
        None,
    )


@needs_data
def test_captions_of_coco_score_as_the_official_tool_scores_them():
    """The first caption of each image against its others; golden: COCOEvalCap of pycocoevalcap 1.2 with
    COCO.loadRes of pycocotools 2.0.11 on the same two files (SPICE left out)."""
    document = json.loads(gzip.decompress(Path(DATA, "coco/captions_val2017.json.gz").read_bytes()))
    first, others = {}, []
    for one in document["annotations"]:
        if one["image_id"] in first:
            others.append(one)
        else:
            first[one["image_id"]] = one["caption"]
    predictions = write("first.json", [{"image_id": i, "caption": text} for i, text in first.items()])
    references = write("others.json", document | {"annotations": others})
    _, results = score(f"predictions={predictions}", f"references={references}")
    assert results["num_examples"] == 5000
    golden = {
        "BLEU-1": 63.447057015520535, "BLEU-2": 43.73799065113723, "BLEU-3": 29.412868702985325, "BLEU-4": 19.553851792504894,
        "METEOR": 24.20960375875178, "ROUGE-L": 47.17583581954499, "CIDEr": 88.6544201761606,
    }  # fmt: skip
    assert results["metrics"] == pytest.approx(golden, rel=1e-13)


@needs_data
def test_answers_of_vqa_score_as_the_official_tool_scores_them():
    """The commonest answer of each question; golden: vqaEval.py as of 2018, run on the same files."""
    references = Path(DATA, "vqa2/v2_annotations_valid_subset.json.gz")
    entries = json.loads(gzip.decompress(references.read_bytes()))["annotations"]
    answers = [(str(one["question_id"]), one["multiple_choice_answer"]) for one in entries]
    asked = Path(DATA, "vqa2/v2_questions_valid_subset.json.gz")
    _, results = vqa(answers, f"questions={asked}", references=references)
    printed = {name.removeprefix("accuracy/"): round(value, 2) for name, value in results["metrics"].items()}
    assert printed.items() >= {"accuracy": 96.61, "yes/no": 100.0, "number": 96.54, "other": 93.43}.items()
    assert sum("question_type/" in name for name in printed) == 65
