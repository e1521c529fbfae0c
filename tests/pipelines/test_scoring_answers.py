"""Scores of answers and labels of other programs: single answers, and labels in another spelling."""

import pytest

from tests.pipelines.scored_files import annotations, score, vqa, write


@pytest.mark.parametrize("task", [["task=vqa"], ["task=custom", "task.metric=vqa"]])
def test_questions_with_one_answer_are_right_or_wrong(task):
    """By hand: three of four normalised answers are equal, and the results say that nobody was left out."""
    references = write("r.jsonl", [{"id": n, "references": [t]} for n, t in enumerate(["red", "two", "no", "cat"])])
    predictions = write("p.jsonl", [{"id": n, "prediction": t} for n, t in enumerate(["red", "2", "No.", "dog"])])
    _, results = score(*task, f"predictions={predictions}", f"references={references}")
    assert results["metrics"]["accuracy"] == 75
    assert "4 of 4 questions have one answer, so their score is the simple one" in results["notes"][0]


def test_few_answers_are_named_and_many_are_not():
    given = annotations({"11": ["yes"] * 2, "12": ["no"], "13": ["red"] * 10})
    _, results = vqa([("11", "yes"), ("12", "no"), ("13", "red")], references=given)
    # 11: each of two annotators leaves one other, 1/3. 12: the only answer. 13: ten agree.
    assert results["metrics"]["accuracy"] == pytest.approx(100 * (1 / 3 + 1 + 1) / 3)
    assert [note.partition(" questions")[0] for note in results["notes"]] == ["accuracy: 1 of 3", "accuracy: 1 of 3"]
    _, results = vqa([("11", "yes"), ("12", "3"), ("13", "red")])
    assert results["notes"] == []


SPELLED = {"1": "Entailment", "2": "Neutral.", "3": " CONTRADICTION "}


def test_entailment_labels_count_in_any_case():
    gold = ["entailment", "Neutral", "contradiction"]
    references = write("r.jsonl", [{"pairID": str(n), "gold_label": label} for n, label in enumerate(gold, start=1)])
    predictions = write("p.jsonl", [{"pairID": name, "prediction": text} for name, text in SPELLED.items()])
    _, results = score("task=snli-ve", f"predictions={predictions}", f"references={references}")
    assert results["metrics"]["accuracy"] == 100
    assert results["tables"]["confusion"]["counts"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize("labels", ["task.labels=[true,false]", "task.labels=['true','false']"])
def test_labels_of_a_custom_task_count_in_any_case(labels):
    references = write("r.jsonl", [{"id": 1, "references": "true"}, {"id": 2, "references": "False"}])
    predictions = write("p.jsonl", [{"id": 1, "prediction": "True."}, {"id": 2, "prediction": "true"}])
    files = [f"predictions={predictions}", f"references={references}"]
    task = ["task=custom", "task.metric=accuracy"]
    _, results = score(*task, labels, *files)
    assert results["metrics"] == {"accuracy": 50, "accuracy/true": 100, "accuracy/false": 0}
