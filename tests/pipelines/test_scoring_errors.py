"""Files of the wrong kind are named for what they are; what a references file leaves out is counted."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.data import VqaEData
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.errors import UserError
from close_transfer.data.sources.vqa import load_vqa_e
from close_transfer.evaluation.official_formats import fingerprint_references
from close_transfer.evaluation.reference_files.references import read_references
from tests.conftest import REPOSITORY
from tests.pipelines.test_score_predictions import CAPTIONS, annotations, coco, karpathy, questions, score, write

DATA = os.environ.get("CLOSE_TRANSFER_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="CLOSE_TRANSFER_DATA is unset: it names the folder of real data")


def explained(answers=("yes", "red")):
    """VQA-E's own file: no ids, one entry an answer."""
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
    ("vqa", coco, r"captions\.json\.gz: these are COCO's captions; task=vqa takes VQA's annotations"),
    ("vqa", karpathy, r"these are Karpathy's captions; task=vqa takes"),
    ("vqa", questions, r"these are VQA's questions; task=vqa takes"),
    ("vqa", explained, r"these are VQA-E's questions with their answers; task=vqa takes"),
    ("vqa-e", coco, r"these are COCO's captions; task=vqa-e takes VQA-E's own file or VQA's annotations"),
    ("captioning", annotations, r"these are VQA's annotations; task=captioning takes COCO's, Karpathy's"),
    ("captioning", answers, r"p\.jsonl: these are predictions; task=captioning takes"),
    ("snli-ve", coco, r"these are COCO's captions; task=snli-ve takes JSON lines with pairID and gold_label"),
]


@pytest.mark.parametrize(("task", "references", "message"), WRONG)
def test_references_of_another_task_are_named_in_one_line(task, references, message):
    with pytest.raises(UserError, match=message) as caught:
        score(f"task={task}", f"predictions={answers()}", f"references={references()}")
    assert "\n" not in str(caught.value)
    assert "mend" not in str(caught.value)


def test_what_is_given_for_the_other_setting_is_named():
    with pytest.raises(UserError, match=r"predictions=.*: these are COCO's captions; predictions are a list"):
        score(f"predictions={coco()}", f"references={coco()}")
    with pytest.raises(UserError, match=r"predictions=pairs\.jsonl: these are labelled pairs of SNLI or SNLI-VE"):
        score("task=snli-ve", f"predictions={pairs()}", f"references={pairs()}")
    with pytest.raises(UserError, match=r"questions=.*: these are VQA's annotations; questions= takes VQA's questions"):
        given = annotations()
        score("task=vqa", f"predictions={answers()}", f"references={given}", f"questions={given}")


def test_one_bad_entry_of_the_right_kind_is_still_shown_with_its_place():
    document = json.loads(Path(annotations()).read_text())
    del document["annotations"][1]["question_id"]
    with pytest.raises(UserError, match=r"annotations\[1\]: field 'question_id' is missing") as caught:
        score("task=vqa", f"predictions={answers()}", f"references={write('annotations.json', document)}")
    assert "mend the file, or take those entries out" in str(caught.value)


def test_a_field_that_no_entry_has_is_reported_once():
    theirs = write("p.json", [{"image_id": n, "text": "a ball"} for n in range(9)])
    with pytest.raises(UserError, match=r"entry \[0\]: none of the fields .*prediction_field= \(the same in all 9 entries\)") as caught:  # fmt: skip
        score(f"predictions={theirs}", f"references={coco()}")
    assert "\n" not in str(caught.value)


def test_vqa_e_is_scored_from_its_own_file_by_position():
    predictions = write("p.jsonl", [{"id": str(n), "prediction": text} for n, text in ((1, "red"), (0, "no"))])
    _, results = score("task=vqa-e", f"predictions={predictions}", f"references={explained()}")
    assert results["metrics"]["accuracy"] == pytest.approx(50.0)
    assert results["metrics"]["accuracy/question_type/what"] == pytest.approx(50.0)
    lines = [json.loads(line) for line in Path("scored/scores.jsonl").read_text().splitlines()]
    assert lines == [{"id": "0", "accuracy": 0.0}, {"id": "1", "accuracy": 100.0}]


def test_vqa_e_is_called_by_the_ids_that_evaluations_give():
    """What a run's predictions are named is what its references are named here, with the same fingerprint."""
    given = explained()
    data = VqaEData(
        name="vqa-e", root=str(Path.cwd()), files={"val": given, "test": given}, image_folders={"val": "val2014", "test": "val2014"},
        on_bad_rows="error", on_missing_image="error", noise={}, epochs={},
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
def test_real_annotations_for_captions_are_reported_by_the_command():
    references = Path(DATA, "vqa2/v2_annotations_valid_subset.json.gz")
    command = [sys.executable, str(REPOSITORY / "scripts/score_predictions.py"), "output=scored"]
    finished = subprocess.run(
        [*command, f"predictions={answers()}", f"references={references}"], text=True, capture_output=True
    )
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "these are VQA's annotations; task=captioning takes" in finished.stderr
    assert not Path("scored").exists()
