"""Scoring anybody's predictions: formats, ids, and the official tools' own numbers."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from close_transfer.cli import compose_config
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.evaluation.official_formats import format_official_results
from close_transfer.evaluation.reference_files.references import read_predictions, read_references
from close_transfer.pipelines.score_predictions import score_predictions
from tests.conftest import REPOSITORY
from tests.settings import make_encoder

DATA = os.environ.get("CLOSE_TRANSFER_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="CLOSE_TRANSFER_DATA is unset: it names the folder of real data")

CAPTIONS = {"1": ["a red ball on the grass", "a ball lies there"], "2": ["two dogs run", "dogs are running fast"]}
ANSWERS = {"11": ["yes"] * 10, "12": ["2"] * 6 + ["3"] * 4, "13": ["red"] * 5 + ["dark red"] * 5}


def write(name, value):
    """JSON, or JSON lines by the name, packed where it ends in .gz; the path as text."""
    text = "".join(json.dumps(one) + "\n" for one in value) if ".jsonl" in name else json.dumps(value)
    (gzip.open if name.endswith(".gz") else open)(name, "wt", encoding="utf-8").write(text)
    return name


def score(*settings):
    """What was scored, and the results.json that was written."""
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


@pytest.mark.parametrize(
    "references",
    [
        coco,
        karpathy,
        lambda: write("f.jsonl.gz", [{"image": i, "captions": t} for i, t in CAPTIONS.items()]),
        lambda: write("r.jsonl", [{"id": int(i), "references": t} for i, t in CAPTIONS.items()]),
    ],
)
def test_captions_are_read_from_every_kind_of_file(references):
    settings = ["predictions=unread.json", f"references={references()}", "output=unwritten"]
    read = read_references(compose_config("score_predictions", ScorePredictionsConfig, settings))
    assert {e.id: list(e.references) for e in read.examples} == CAPTIONS


def test_another_split_of_karpathys_file_can_be_scored():
    settings = [f"references={karpathy()}", "predictions=unread.json", "output=unwritten"]
    read = read_references(compose_config("score_predictions", ScorePredictionsConfig, [*settings, "split=val"]))
    assert [e.id for e in read.examples] == ["3"]
    with pytest.raises(UserError, match=r"no image of split=restval; there are \{'val': 1, 'test': 2\}"):
        read_references(compose_config("score_predictions", ScorePredictionsConfig, [*settings, "split=restval"]))


def predictions_in(name, value, *settings):
    given = [f"predictions={write(name, value)}", "references=unread.json", "output=unwritten", *settings]
    return read_predictions(compose_config("score_predictions", ScorePredictionsConfig, given))[0]


def test_other_field_names_can_be_given():
    theirs = [{"image_name": name, "captions": ["?"], "text": text} for name, text in WRITTEN.items()]
    with pytest.raises(UserError, match=r"entry \[0\]: none of the fields id, .*'image_name'.* id_field="):
        predictions_in("theirs.json", theirs)
    assert predictions_in("theirs.json", theirs, "id_field=image_name", "prediction_field=text") == WRITTEN


def test_an_official_results_file_holds_the_predictions_it_was_made_from():
    predictions = [Prediction(name, (text,), (0.0,)) for name, text in WRITTEN.items()]
    listed = format_official_results("captioning", predictions)
    assert listed == [{"image_id": 1, "caption": "a red ball"}, {"image_id": 2, "caption": "two dogs are running"}]
    assert predictions_in("official.json", listed) == WRITTEN
    assert predictions_in("own.jsonl.gz", [prediction.as_dict() for prediction in predictions]) == WRITTEN
    assert format_official_results("vqa", [Prediction("007", ("x",), (0.0,))]) == [
        {"question_id": "007", "answer": "x"}
    ]
    with pytest.raises(UserError, match="task=snli-ve: has no official results format"):
        format_official_results("snli-ve", predictions)


def test_answers_are_scored_to_the_letter():
    """Golden by hand: one annotator left out in turn; nothing is normalised where all agree."""
    _, results = vqa([("11", "Yes"), ("12", "three"), ("13", "the red.")])
    # 11: all say "yes", so "Yes" is wrong. 12: four of ten, always three or more of the others. 13: five of ten.
    assert results["metrics"]["accuracy"] == pytest.approx(200 / 3)
    assert results["metrics"]["accuracy/other"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("answers", "setting", "message", "reason", "count"),
    [
        ([("11", "yes")], "on_missing=skip", r"2 of 3 references have no prediction \(12, 13\)", "references without a prediction", 2),
        ([(i, "x") for i in (11, 12, 13, 14)], "on_extra=skip", r"1 of 4 predictions have no reference \(14\)", "predictions without a reference", 1),
        ([(i, "x") for i in (11, 12, 13, 13)], "on_duplicate=first", r"predictions=.*1 ids come more than once \(13\)", "repeated predictions", 1),
    ],
)  # fmt: skip
def test_ids_that_do_not_agree_are_errors_by_default(answers, setting, message, reason, count):
    with pytest.raises(UserError, match=message):
        vqa(answers)
    _, results = vqa(answers, setting)
    assert results["skipped"] == {reason: count}
    assert results["num_skipped"] == count


@pytest.mark.parametrize(("which", "accuracy"), [("first", 100.0), ("last", 0.0)])
def test_of_repeated_ids_the_chosen_one_counts(which, accuracy):
    references = write("r.jsonl", [{"id": "a", "references": ["yes"] * 3}])
    predictions = write("p.jsonl", [{"id": "a", "prediction": text} for text in ("yes", "no")])
    _, results = score("task=vqa", f"predictions={predictions}", f"references={references}", f"on_duplicate={which}")
    assert results["metrics"]["accuracy_simple"] == accuracy


def test_repeated_references_are_an_error_too():
    references = write("r.jsonl", [{"id": "a", "references": ["yes"] * 3}] * 2)
    with pytest.raises(UserError, match=r"references=r\.jsonl: 1 ids come more than once \(a\)"):
        score(
            "task=vqa", f"predictions={write('p.jsonl', [{'id': 'a', 'prediction': 'x'}])}", f"references={references}"
        )


def test_files_of_other_data_are_recognised_by_their_ids():
    with pytest.raises(UserError, match=r"none of its 1 ids \(99\) is among the 3 of .*\(1[123], "):
        vqa([("99", "x")], "on_missing=skip", "on_extra=skip")


def test_questions_must_be_those_of_the_annotations():
    answers = [(name, "x") for name in ANSWERS]
    _, results = vqa(answers, f"questions={questions()}")
    assert results["num_examples"] == 3
    with pytest.raises(UserError, match=r"1 questions have no annotation in .*\(14\)"):
        vqa(answers, f"questions={questions([*ANSWERS, '14'])}")
    with pytest.raises(UserError, match=r"1 annotations have no question in .*\(13\)"):
        vqa(answers, f"questions={questions(['11', '12'])}")
    with pytest.raises(UserError, match=r"questions=.*task=captioning has no questions"):
        score("predictions=p.json", "references=r.json", "questions=q.json")


def test_pairs_without_a_label_are_dropped_and_counted():
    labels = ["entailment", "neutral", "-", "contradiction"]
    references = write("r.jsonl", [{"pairID": f"{n}.jpg#0", "gold_label": label} for n, label in enumerate(labels)])
    answers = ["entailment", "entailment", "neutral", "maybe"]
    predictions = write("p.jsonl", [{"id": f"{n}.jpg#0", "prediction": answer} for n, answer in enumerate(answers)])
    _, results = score("task=snli-ve", f"predictions={predictions}", f"references={references}")
    assert results["metrics"]["accuracy"] == pytest.approx(100 / 3)
    assert results["skipped"] == {"pairs without a gold label (-)": 1}
    assert results["tables"]["confusion"]["counts"] == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert "accuracy_generated" not in results["metrics"]


BROKEN = {
    "cut short": ("p.json", b'[{"question_id": 11, "ans'),
    "no list": ("p.json", b'{"question_id": 11, "answer": "x"}'),
    "a number for an answer": ("p.json", b'[{"question_id": 11, "answer": 2}]'),
    "a half number for an id": ("p.json", b'[{"question_id": 11.5, "answer": "x"}]'),
    "half a character": ("p.json", b'[{"question_id": 11, "answer": "\\ud800"}]'),
    "deep": ("p.json", b"[" * 100_000),
    "nothing": ("p.json", b"[]"),
    "an empty file": ("p.jsonl", b""),
    "no JSON in a line": ("p.jsonl", b'{"id": 1, "prediction": "x"}\nx\n'),
    "not UTF-8": ("p.jsonl", b'{"id": 1, "prediction": "\xff"}\n'),
    "not packed": ("p.json.gz", b"[]"),
    "another kind": ("p.txt", b"yes\n"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("side", ["predictions", "references", "questions"])
def test_broken_files_are_named(name, side):
    file, content = BROKEN[name]
    files = {"predictions": write("good.jsonl", [{"id": 11, "prediction": "x"}]), "references": annotations()}
    Path(file).write_bytes(content)
    files[side] = file
    with pytest.raises(UserError, match=file):
        score("task=vqa", *(f"{key}={value}" for key, value in files.items()))
    assert not Path("scored").exists()


def test_clipscore_of_drawn_images(tmp_path):
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
    command = [sys.executable, str(REPOSITORY / "scripts/score_predictions.py"), "output=scored", "num_bootstrap=20"]
    files = [f"predictions={write('p.json', official)}", f"references={coco()}"]
    finished = subprocess.run([*command, *files], text=True, capture_output=True)
    assert finished.returncode == 0, finished.stderr
    results = json.loads(Path("scored/results.json").read_text())
    metrics = results["metrics"]
    # By hand: all seven words are known, and the references nearest in length have eight.
    assert metrics["BLEU-1"] == pytest.approx(100 * np.exp(1 - 8 / 7), rel=1e-6)
    for name, value in metrics.items():
        assert re.search(rf"{name} +{value:.1f} ", finished.stdout)
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
