import numpy as np
import pytest

from close_transfer.metrics.accuracy import accuracy_scores, vqa_accuracy
from close_transfer.metrics.bootstrap import mean_scores
from close_transfer.metrics.retrieval import paired_cosine, recall_at_k, unrelated_cosine


@pytest.mark.parametrize(
    ("prediction", "answers", "accuracy"),
    [
        ("yes", ["yes"] * 10, 1.0),
        ("no", ["yes"] * 10, 0.0),
        # One of ten: nine annotators find it among the others once, its author never.
        ("red", ["red"] + ["blue"] * 9, 0.3),
        ("red", ["red"] * 2 + ["blue"] * 8, 0.6),
        ("red", ["red"] * 3 + ["blue"] * 7, 0.9),
        ("red", ["red"] * 4 + ["blue"] * 6, 1.0),
        ("The Dog.", ["dog"] * 10, 1.0),
        ("two", ["2"] * 10, 1.0),
    ],
)
def test_vqa_accuracy(prediction, answers, accuracy):
    assert vqa_accuracy(prediction, answers) == pytest.approx(accuracy)


def test_accuracy_by_category_is_in_percent():
    scores = accuracy_scores(np.array([1.0, 0.0, 1.0, 1.0]), ["yes/no", "yes/no", "number", ""], 50)
    assert scores.metrics == {"accuracy": 75.0, "accuracy/number": 100.0, "accuracy/yes/no": 50.0}
    assert scores.intervals["accuracy/number"] == (100.0, 100.0)


def test_intervals_cover_what_they_promise():
    """Of 200 samples of 100 coins, about 95% of the intervals hold the true share."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        coins = (rng.random(100) < 0.3).astype(float)
        _, intervals = mean_scores({"share": coins}, 400)
        low, high = intervals["share"]
        covered += low <= 0.3 <= high
    assert 180 <= covered <= 199


def test_interval_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).normal(5, 2, size=2000)
    _, intervals = mean_scores({"mean": values}, 4000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert intervals["mean"] == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_recall_counts_exact_matches_and_ties_against():
    queries = np.eye(3)
    assert recall_at_k(queries, queries, 1) == 1.0
    assert recall_at_k(queries, queries[[1, 0, 2]], 1) == pytest.approx(1 / 3)
    assert recall_at_k(queries, np.ones((3, 3)), 1) == 0.0
    assert recall_at_k(queries, np.ones((3, 3)), 3) == 1.0


def test_cosines_against_loops():
    rng = np.random.default_rng(0)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 7, 5)))
    pairs = [a[i] @ a[j] for i in range(7) for j in range(7) if i != j]
    assert unrelated_cosine(a) == pytest.approx(np.mean(pairs))
    assert paired_cosine(a, b) == pytest.approx(np.mean([a[i] @ b[i] for i in range(7)]))
