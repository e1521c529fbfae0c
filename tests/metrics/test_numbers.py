import numpy as np
import pytest

from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics import bootstrap
from close_transfer.metrics.accuracy import build_confusion_table, score_accuracy
from close_transfer.metrics.bootstrap import average_scores
from close_transfer.metrics.retrieval import compute_paired_cosine, compute_recall_at_k, compute_unrelated_cosine
from close_transfer.tasks import TASKS


def test_accuracy_by_category_is_in_percent():
    scores = score_accuracy(np.array([1.0, 0.0, 1.0, 1.0]), ["yes/no", "yes/no", "number", ""], 50)
    assert scores.metrics == {"accuracy": 75.0, "accuracy/number": 100.0, "accuracy/yes/no": 50.0}
    assert scores.intervals["accuracy/number"] == (100.0, 100.0)


def test_accuracy_by_question_type_is_reported_with_that_by_answer_type():
    types = ["is the", "is the", "what color", ""]
    scores = score_accuracy(np.array([1.0, 0.0, 1.0, 1.0]), ["yes/no"] * 4, 10, subcategories=types)
    assert scores.metrics == {
        "accuracy": 75.0,
        "accuracy/yes/no": 75.0,
        "accuracy/question_type/is the": 50.0,
        "accuracy/question_type/what color": 100.0,
    }
    assert scores.intervals.keys() == scores.metrics.keys()


LABELS = ("entailment", "neutral", "contradiction")


def test_confusion_counts_the_answers_to_each_label():
    gold = ["entailment"] * 3 + ["neutral"] * 2 + ["contradiction"]
    said = ["entailment", "entailment", "neutral", "contradiction", "neither", "contradiction"]
    assert build_confusion_table(gold, said, LABELS) == {
        "rows": list(LABELS),
        "columns": [*LABELS, "other"],
        "counts": [[2, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]],
    }


def test_a_gold_label_of_no_row_is_named():
    with pytest.raises(UserError, match=r"'-'.*entailment"):
        build_confusion_table(["-"], ["neutral"], LABELS)


def test_entailment_gives_recall_of_each_label_and_both_confusions():
    gold = ["entailment", "entailment", "neutral", "contradiction"]
    examples = [Example(str(i), (), references=(label,)) for i, label in enumerate(gold)]
    chosen = ["entailment", "neutral", "neutral", "contradiction"]
    generated = [" entailment", "entail", "neutral", "neutral"]
    predictions = [
        Prediction(str(i), (text,), (0.0,), label, (0.0,) * 3)
        for i, (text, label) in enumerate(zip(generated, chosen, strict=True))
    ]
    scores = TASKS["snli-ve"]().score(examples, predictions, 10)
    assert scores.metrics == {
        "accuracy": 75.0,
        "accuracy_generated": 50.0,
        "accuracy/contradiction": 100.0,
        "accuracy/entailment": 50.0,
        "accuracy/neutral": 100.0,
    }
    assert scores.tables["confusion"]["counts"] == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert scores.tables["confusion_generated"]["counts"] == [[1, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]]


def test_entailment_predictions_of_other_programs_have_text_only():
    examples = [Example("1", (), references=("neutral",))]
    assert TASKS["snli-ve"]().score(examples, [Prediction("1", ("neutral",), (0.0,))], 10).metrics["accuracy"] == 100


def test_intervals_cover_what_they_promise():
    """About 95% of the intervals of 200 samples of 100 coins hold the true share."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        coins = (rng.random(100) < 0.3).astype(float)
        _, intervals = average_scores({"share": coins}, 400)
        low, high = intervals["share"]
        covered += low <= 0.3 <= high
    assert 180 <= covered <= 199


def test_interval_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).normal(5, 2, size=2000)
    _, intervals = average_scores({"mean": values}, 4000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert intervals["mean"] == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_recall_counts_exact_matches_and_ties_against():
    queries = np.eye(3)
    assert compute_recall_at_k(queries, queries, 1) == 1.0
    assert compute_recall_at_k(queries, queries[[1, 0, 2]], 1) == pytest.approx(1 / 3)
    assert compute_recall_at_k(queries, np.ones((3, 3)), 1) == 0.0
    assert compute_recall_at_k(queries, np.ones((3, 3)), 3) == 1.0


def test_cosines_against_loops():
    rng = np.random.default_rng(0)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 7, 5)))
    pairs = [a[i] @ a[j] for i in range(7) for j in range(7) if i != j]
    assert compute_unrelated_cosine(a) == pytest.approx(np.mean(pairs))
    assert compute_paired_cosine(a, b) == pytest.approx(np.mean([a[i] @ b[i] for i in range(7)]))


def test_kept_draws_give_the_sums_of_new_ones(monkeypatch):
    """The counts of the last draws are kept, with the number of examples and of resamples and the seed."""
    statistics = np.random.default_rng(0).random((50, 3))
    calls = [(50, 40, 0), (50, 40, 0), (49, 40, 0), (50, 41, 0), (50, 40, 1), (50, 40, 0)]
    kept = [bootstrap.resample_sums(statistics[:examples], resamples, seed) for examples, resamples, seed in calls]
    monkeypatch.setattr(bootstrap, "_KEPT_CELLS", 0)
    for (examples, resamples, seed), sums in zip(calls, kept, strict=True):
        np.testing.assert_array_equal(sums, bootstrap.resample_sums(statistics[:examples], resamples, seed))
