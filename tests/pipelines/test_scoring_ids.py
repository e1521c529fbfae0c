"""Ids of scored entries: several fields that may hold them, rows of one image, and texts by id."""

import csv

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from close_transfer.cli import compose_config
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.errors import UserError
from close_transfer.evaluation.reference_files.references import read_references
from close_transfer.metrics.ptb import tokenize_ptb
from tests.pipelines.scored_files import CAPTIONS, WRITTEN, annotations, coco, score, vqa, write

REFERENCES = {str(n): [f"a {thing} on the grass", f"one {thing} outside in the sun"] for n, thing in enumerate(["dog", "cat", "red ball", "boat"])}  # fmt: skip
SHUFFLED = ["2", "0", "3", "1"]
RIGHT = {name: REFERENCES[name][0] for name in SHUFFLED}


def compute_golden(answers, references):
    """Compute BLEU-4 and CIDEr with pycocoevalcap directly."""
    names = list(references)
    told = dict(zip(names, tokenize_ptb([references[name] for name in names]), strict=True))
    said = dict(zip(names, tokenize_ptb([[answers[name]] for name in names]), strict=True))
    bleu = Bleu(4).compute_score(told, said, verbose=0)[0][3]
    return {"BLEU-4": 100 * bleu, "CIDEr": 100 * Cider().compute_score(told, said)[0]}


def check_golden(results, answers, references):
    golden = compute_golden(answers, references)
    assert {name: results["metrics"][name] for name in golden} == pytest.approx(golden, rel=1e-9)


def write_images(name, references):
    images = [{"id": int(n), "file_name": f"{n}.png"} for n in references]
    listed = [{"image_id": int(n), "caption": text} for n, texts in references.items() for text in texts]
    return write(name, {"images": images, "annotations": listed})


@pytest.mark.slow  # METEOR's process starts twice
def test_a_running_id_does_not_replace_the_image_id():
    """Both fields match all references, so the order decides: `image_id` for captions."""
    given = [{"id": n, "image_id": int(name), "caption": RIGHT[name]} for n, name in enumerate(SHUFFLED)]
    files = [f"predictions={write('p.json', given)}", f"references={write_images('c.json', REFERENCES)}"]
    _, results = score(*files)
    check_golden(results, RIGHT, REFERENCES)
    assert results["notes"][0].startswith("predictions: the ids are those of 'image_id', which differ from 'id' (4 of")
    _, results = score(*files, "id_field=id")
    check_golden(results, {str(n): RIGHT[name] for n, name in enumerate(SHUFFLED)}, REFERENCES)
    assert results["notes"] == []


def score_labels(references, predictions):
    """Score without METEOR, which takes seconds to start."""
    return score("task=vqa", f"predictions={write('p.jsonl', predictions)}", f"references={references}")[1]


def test_the_field_that_matches_the_references_holds_the_ids():
    answers = {"11": "yes", "12": "2", "13": "red"}
    given = [{"question_id": n, "id": name, "answer": text} for n, (name, text) in enumerate(answers.items())]
    results = score_labels(annotations(), given)
    assert "those of 'id', which differ from 'question_id' (3 of 'id', 0 of 'question_id' match" in results["notes"][0]
    given = [{"question_id": name, "id": n, "image_id": 7, "answer": t} for n, (name, t) in enumerate(answers.items())]
    assert (
        "those of 'question_id', which differ from 'id' and 'image_id'"
        in score_labels(annotations(), given)["notes"][0]
    )
    given = [{"question_id": name, "id": name, "answer": text} for name, text in answers.items()]
    assert score_labels(annotations(), given)["notes"] == []


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (["image", "caption_0", "caption_1", "caption_2"], "the columns caption_0, caption_1, caption_2 are the references of one scene"),
        (["image", "captions"], "cells of 'captions' hold lists, which are read as several texts each"),
    ],
)  # fmt: skip
def test_references_may_be_in_numbered_columns_or_lists_in_cells(header, form):
    with open("wide.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([n, *([*texts, ""] if len(header) > 2 else [str(texts)])] for n, texts in REFERENCES.items())
    config = compose_config(
        "score_predictions", ScorePredictionsConfig, ["predictions=x", "references=wide.csv", "output=o"]
    )
    read = read_references(config)
    assert {e.id: list(e.references) for e in read.examples} == REFERENCES
    assert read.notes == [f"references: {form}"]


def test_answers_may_be_a_list_in_a_cell():
    with open("answers.csv", "w", newline="") as file:
        csv.writer(file).writerows([["question_id", "answers"], ["1", "['red', 'blue ']"]])
    given = ["task=vqa", "predictions=x", "references=answers.csv", "output=o"]
    read = read_references(compose_config("score_predictions", ScorePredictionsConfig, given))
    assert read.examples[0].references == ("red", "blue ")


@pytest.mark.slow  # METEOR's process starts for each format
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_rows_of_one_image_are_one_scene(kind):
    rows = [{"image": f"{n}.png", "caption": text} for n, texts in REFERENCES.items() for text in texts]
    if kind == "csv":
        with open("flat.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["image", "caption"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        write(f"flat.{kind}", rows)
    given = write("p.json", [{"image": f"{n}.png", "caption": text} for n, text in RIGHT.items()])
    _, results = score(f"predictions={given}", f"references=flat.{kind}")
    check_golden(results, RIGHT, REFERENCES)
    assert results["num_examples"] == 4
    assert results["notes"] == [
        "references: 8 entries have one caption each and 4 ids: entries of one id are one scene"
    ]


@pytest.mark.slow  # METEOR's process starts for each format
@pytest.mark.parametrize("shape", [lambda t: t, lambda t: [t], lambda t: [{"caption": t}]])
def test_texts_by_id_are_scored(shape):
    references = write("r.json", {name: [{"caption": t} for t in texts] for name, texts in CAPTIONS.items()})
    predictions = write("p.json", {name: shape(text) for name, text in WRITTEN.items()})
    for told in (references, coco()):
        _, results = score(f"predictions={predictions}", f"references={told}")
        check_golden(results, WRITTEN, CAPTIONS)


def test_answers_by_id_and_several_captions_of_one_prediction():
    answers = write("a.json", {"11": "yes", "12": "3", "13": "blue"})
    _, results = score("task=vqa", f"predictions={answers}", f"references={annotations()}")
    assert results["metrics"]["accuracy"] == pytest.approx(100 * 2 / 3)
    several = write("several.json", {"1": ["a dog", "a cat"], "2": ["a boat"]})
    with pytest.raises(UserError, match=r"several\.json, id '1': field 'prediction' is a list, not text"):
        score(f"predictions={several}", f"references={coco()}")


def test_vizwiz_questions_are_known_by_their_image():
    """Scored by hand: two of two others of three answers is 2/3; four of ten is 1."""
    listed = [
        {"image": "VizWiz_val_0.jpg", "question": "What?", "answer_type": "other", "answerable": 1,
         "answers": [{"answer": text, "answer_confidence": "yes"} for text in ["red"] * 4 + ["blue"] * 6]},
        {"image": "VizWiz_val_1.jpg", "question": "Where?", "answer_type": "unanswerable", "answerable": 0,
         "answers": [{"answer": "unanswerable", "answer_confidence": "no"}] * 10},
    ]  # fmt: skip
    given = [{"image": "VizWiz_val_0.jpg", "answer": "red"}, {"image": "VizWiz_val_1.jpg", "answer": "dog"}]
    results = score_labels(write("VizWiz.json", listed), given)
    expected = {"accuracy": 50, "accuracy/other": 100, "accuracy/unanswerable": 0}
    assert {name: results["metrics"][name] for name in expected} == expected


def test_vqa_answers_may_be_objects_in_a_list():
    listed = [{"question_id": 1, "answers": [{"answer": "yes", "answer_id": n} for n in range(10)]}]
    assert score_labels(write("hf.jsonl", listed), [{"question_id": 1, "answer": "yes"}])["metrics"]["accuracy"] == 100


def test_a_null_field_is_called_null():
    nulls = write("null.jsonl", [{"id": 1, "prediction": None}, {"id": 2}])
    with pytest.raises(UserError, match=r"line 1: field 'prediction' is null\n.*line 2: it has none of the fields"):
        vqa([], f"predictions={nulls}")
