"""Scoring the predictions of any system: formats and ids."""

from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.evaluation.official_formats import format_official_results
from close_transfer.evaluation.reference_files.predictions import read_predictions
from close_transfer.evaluation.reference_files.references import read_references
from tests.pipelines.scored_files import (
    ANSWERS,
    CAPTIONS,
    WRITTEN,
    annotations,
    coco,
    karpathy,
    questions,
    score,
    vqa,
    write,
)


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
    with pytest.raises(UserError, match=r"there is no image of split=restval, only \{'val': 1, 'test': 2\}\."):
        read_references(compose_config("score_predictions", ScorePredictionsConfig, [*settings, "split=restval"]))


def predictions_in(name, value, *settings):
    given = [f"predictions={write(name, value)}", "references=unread.json", "output=unwritten", *settings]
    return read_predictions(compose_config("score_predictions", ScorePredictionsConfig, given)).text_by_id


def test_other_field_names_can_be_given():
    theirs = [{"image_name": name, "captions": ["?"], "text": text} for name, text in WRITTEN.items()]
    with pytest.raises(
        UserError, match=r"entry \[0\]: it has none of the fields image_id, id, .*'image_name'.* id_field="
    ):
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
    with pytest.raises(UserError, match="task=snli-ve has no official results format"):
        format_official_results("snli-ve", predictions)


def test_answers_are_scored_without_normalization():
    """Compare with values by hand: each annotator is left out in turn, and nothing is normalised if all agree."""
    _, results = vqa([("11", "Yes"), ("12", "three"), ("13", "the red.")])
    # 11: all say "yes", so "Yes" is wrong. 12: four of ten, always three or more of the others. 13: five of ten.
    assert results["metrics"]["accuracy"] == pytest.approx(200 / 3)
    assert results["metrics"]["accuracy/other"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("answers", "setting", "message", "reason", "count"),
    [
        ([("11", "yes")], "on_missing=skip", r"2 of 3 references have no prediction \(12, 13\)", "references without a prediction", 2),
        ([(i, "x") for i in (11, 12, 13, 14)], "on_extra=skip", r"1 of 4 predictions have no reference \(14\)", "predictions without a reference", 1),
        ([(i, "x") for i in (11, 12, 13, 13)], "on_duplicate=first", r"predictions=.*1 ids are in it more than once \(13\)", "repeated predictions", 1),
    ],
)  # fmt: skip
def test_ids_that_do_not_agree_are_errors_by_default(answers, setting, message, reason, count):
    with pytest.raises(UserError, match=message):
        vqa(answers)
    _, results = vqa(answers, setting)
    assert results["skipped"] == {reason: count}
    assert results["num_skipped"] == count


@pytest.mark.parametrize(("which", "accuracy"), [("first", 100.0), ("last", 0.0)])
def test_the_chosen_entry_of_a_duplicate_id_counts(which, accuracy):
    references = write("r.jsonl", [{"id": "a", "references": ["yes"] * 3}])
    predictions = write("p.jsonl", [{"id": "a", "prediction": text} for text in ("yes", "no")])
    _, results = score("task=vqa", f"predictions={predictions}", f"references={references}", f"on_duplicate={which}")
    assert results["metrics"]["accuracy_simple"] == accuracy


def test_duplicate_references_are_an_error():
    references = write("r.jsonl", [{"id": "a", "references": ["yes"] * 3}] * 2)
    with pytest.raises(UserError, match=r"references=r\.jsonl: 1 ids are in it more than once \(a\)"):
        score(
            "task=vqa", f"predictions={write('p.jsonl', [{'id': 'a', 'prediction': 'x'}])}", f"references={references}"
        )


def test_files_of_other_data_are_detected_by_their_ids():
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
def test_errors_of_broken_files_name_the_file(name, side):
    file, content = BROKEN[name]
    files = {"predictions": write("good.jsonl", [{"id": 11, "prediction": "x"}]), "references": annotations()}
    Path(file).write_bytes(content)
    files[side] = file
    with pytest.raises(UserError, match=file):
        score("task=vqa", *(f"{key}={value}" for key, value in files.items()))
    assert not Path("scored").exists()
