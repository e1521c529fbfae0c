"""Errors of scoring: files of the wrong kind, damaged entries, and references left out."""

import gzip
import json
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.data import VqaEData
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.errors import UserError
from close_transfer.data.sources.vqa import load_vqa_e
from close_transfer.evaluation.official_formats import fingerprint_references
from close_transfer.evaluation.reference_files.references import read_references
from tests.commands import run_command
from tests.pipelines.scored_files import (
    CAPTIONS,
    DATA,
    annotations,
    coco,
    karpathy,
    needs_data,
    questions,
    score,
    write,
)


def explained(answers=("yes", "red")):
    """Write VQA-E's own file: no ids, one entry per answer."""
    entries = [
        {"img_id": 7, "question": "what is it?", "question_type": "what", "answers": [answer] * 10, "explanation": ["so", 0.5]}
        for answer in answers
    ]  # fmt: skip
    return write("VQA-E_val_set.json", entries)


def answers():
    return write("p.jsonl", [{"id": 11, "prediction": "yes"}])


def pairs():
    return write("pairs.jsonl", [{"pairID": str(n), "gold_label": "neutral"} for n in range(3)])


WRONG = [
    ("vqa", coco, r"captions\.json\.gz: the file holds COCO's captions\. For task=vqa give VQA's annotations"),
    ("vqa", karpathy, r"holds Karpathy's captions\. For task=vqa give"),
    ("vqa", questions, r"holds VQA's questions\. For task=vqa give"),
    ("vqa", explained, r"holds VQA-E's questions with their answers\. For task=vqa give"),
    ("vqa-e", coco, r"holds COCO's captions\. For task=vqa-e give VQA-E's own file or VQA's annotations"),
    ("captioning", annotations, r"holds VQA's annotations\. For task=captioning give COCO's, Karpathy's"),
    ("captioning", answers, r"p\.jsonl: the file holds predictions\. For task=captioning give"),
    ("snli-ve", coco, r"holds COCO's captions\. For task=snli-ve give JSON Lines with pairID and gold_label"),
]


@pytest.mark.parametrize(("task", "references", "message"), WRONG)
def test_references_of_another_task_are_named_in_one_line(task, references, message):
    with pytest.raises(UserError, match=message) as caught:
        score(f"task={task}", f"predictions={answers()}", f"references={references()}")
    assert "\n" not in str(caught.value)
    assert "Correct the file" not in str(caught.value)


def test_files_given_to_the_wrong_setting_are_named():
    with pytest.raises(UserError, match=r"predictions=.*: the file holds COCO's captions\. Give predictions: a list"):
        score(f"predictions={coco()}", f"references={coco()}")
    with pytest.raises(UserError, match=r"predictions=pairs\.jsonl: the file holds labelled pairs of SNLI or SNLI-VE"):
        score("task=snli-ve", f"predictions={pairs()}", f"references={pairs()}")
    with pytest.raises(UserError, match=r"questions=.*: the file holds VQA's annotations\. Give VQA's questions"):
        given = annotations()
        score("task=vqa", f"predictions={answers()}", f"references={given}", f"questions={given}")


def test_one_bad_entry_of_the_right_kind_is_still_shown_with_its_place():
    document = json.loads(Path(annotations()).read_text())
    del document["annotations"][1]["question_id"]
    with pytest.raises(UserError, match=r"annotations\[1\]: field 'question_id' is missing") as caught:
        score("task=vqa", f"predictions={answers()}", f"references={write('annotations.json', document)}")
    assert "Correct the file, or remove those entries from it" in str(caught.value)


def test_a_field_that_every_entry_lacks_is_reported_once():
    theirs = write("p.json", [{"image_id": n, "text": "a ball"} for n in range(9)])
    with pytest.raises(UserError, match=r"entry \[0\]: it has none of the fields .*prediction_field=NAME\. This error is the same in all 9 entries") as caught:  # fmt: skip
        score(f"predictions={theirs}", f"references={coco()}")
    assert "\n" not in str(caught.value)


def test_vqa_e_is_scored_from_its_own_file_by_position():
    predictions = write("p.jsonl", [{"id": str(n), "prediction": text} for n, text in ((1, "red"), (0, "no"))])
    _, results = score("task=vqa-e", f"predictions={predictions}", f"references={explained()}")
    assert results["metrics"]["accuracy"] == pytest.approx(50.0)
    assert results["metrics"]["accuracy/question_type/what"] == pytest.approx(50.0)
    lines = [json.loads(line) for line in Path("scored/scores.jsonl").read_text().splitlines()]
    assert lines == [{"id": "0", "accuracy": 0.0}, {"id": "1", "accuracy": 100.0}]


def test_vqa_e_has_the_same_ids_as_in_evaluations():
    """Compare ids and fingerprint of the references with those of an evaluation."""
    given = explained()
    data = VqaEData(
        name="vqa-e", root=str(Path.cwd()), files={"val": given, "test": given}, image_folders={"val": "val2014", "test": "val2014"},
        on_bad_rows="error", on_missing_image="error", check_text=True, noise={}, epochs={},
    )  # fmt: skip
    config = compose_config(
        "score_predictions", ScorePredictionsConfig, ["task=vqa-e", "predictions=x", f"references={given}", "output=y"]
    )
    read = read_references(config).examples
    for split in ("val", "test"):
        loaded = load_vqa_e(data, split).examples
        assert [e.id for e in loaded] == [e.id for e in read] == ["0", "1"]
        assert fingerprint_references(loaded) == fingerprint_references(read)


def test_images_without_captions_are_counted_and_their_predictions_are_not_extra():
    document = json.loads(gzip.decompress(Path(coco()).read_bytes()))
    document["images"] += [{"id": 8, "file_name": "8.png"}, {"id": 9, "file_name": "9.png"}]
    written = [{"image_id": int(name), "caption": texts[0]} for name, texts in {**CAPTIONS, "8": ["a cat"]}.items()]
    _, results = score(f"predictions={write('p.json', written)}", f"references={write('gap.json', document)}")
    assert results["skipped"] == {"images without a caption": 2}
    assert (results["num_examples"], results["num_skipped"]) == (2, 2)


@needs_data
def test_the_command_reports_real_annotations_given_for_captions():
    references = Path(DATA, "vqa2/v2_annotations_valid_subset.json.gz")
    finished = run_command("score_predictions", "output=scored", f"predictions={answers()}", f"references={references}")
    assert finished.status == 2
    assert finished.err.count("\n") == 1
    assert "the file holds VQA's annotations. For task=captioning give" in finished.err
    assert not Path("scored").exists()
