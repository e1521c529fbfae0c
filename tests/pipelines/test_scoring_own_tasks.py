"""Scoring predictions of custom tasks, and of captions in other languages."""

import pytest

from close_transfer.core.errors import UserError
from tests.pipelines.scored_files import score, write

TOLD = [{"id": 1, "references": ["Yes", "yes"]}, {"id": 2, "references": ["no"]}, {"id": 3, "references": ["no"]}]
SAID = [{"id": "1", "prediction": "yes"}, {"id": "2", "prediction": "No"}, {"id": "3", "prediction": "yes"}]


@pytest.fixture
def files():
    return [f"predictions={write('said.jsonl', SAID)}", f"references={write('told.jsonl', TOLD)}"]


def test_a_custom_task_is_scored_as_its_settings_say(files):
    labelled, results = score("task=custom", "task.metric=accuracy", "task.labels=[yes,no]", *files)
    assert labelled.scores.metrics["accuracy"] == pytest.approx(200 / 3)
    assert labelled.scores.metrics["accuracy/no"] == 50
    assert results["task"] == "custom"
    assert results["config"]["score"]["task"]["labels"] == ["yes", "no"]
    text, _ = score("task=custom", "task.metric=text", *files)
    assert set(text.scores.metrics) == {"chrF", "exact_match"}
    captions, _ = score("task=custom", "task.language=de", *files)
    assert "chrF" in captions.scores.metrics and "METEOR" not in captions.scores.metrics


def test_annotators_of_a_custom_task_are_counted_without_normalization(files):
    ten = [{"id": n, "references": ["Yes"] * 10} for n in (1, 2, 3)]
    vqa = ["task=custom", "task.metric=vqa", files[0]]
    # As of VQA's scorer: where all say the same, nothing is normalised.
    assert score(*vqa, f"references={write('ten.json', ten)}")[0].scores.metrics["accuracy"] == 0
    write("one.jsonl", [{"id": 1, "references": "yes"}])
    with pytest.raises(UserError, match=r"one\.jsonl, line 1: field 'references' is text, not a list"):
        score(*vqa, "references=one.jsonl")


def test_files_of_another_kind_are_refused_as_references_of_a_custom_task(files):
    pairs = write("pairs.jsonl", [{"pairID": "1", "gold_label": "neutral"}])
    with pytest.raises(
        UserError, match=r"labelled pairs of SNLI.*task=custom give a list or JSON Lines with id and ref"
    ):
        score("task=custom", files[0], f"references={pairs}")
    with pytest.raises(UserError, match=r"task\.labels|should be two or more"):
        score("task=custom", "task.metric=accuracy", "task.labels=[yes]", *files)


def test_captions_of_another_language_are_scored_without_english():
    told = write("told.jsonl", [{"id": 1, "references": ["Zwei Hunde schlafen im Schnee."]}])
    said = write("said.jsonl", [{"id": 1, "prediction": "zwei hunde schlafen im schnee."}])
    scored, _ = score("task.language=de", f"predictions={said}", f"references={told}")
    assert scored.scores.metrics["chrF"] == pytest.approx(100)
    assert "METEOR" not in scored.scores.metrics
