"""Scores of composition against cases whose answer is known."""

import numpy as np
import pytest

from close_transfer.data.composition import ChoiceItem, CompositionTest, TwinItem
from close_transfer.data.examples import ImageRef
from close_transfer.evaluation.composition import score_choice, score_composition, score_twins

IMAGE = ImageRef("image", open=lambda: None, digest=lambda: "image")


def test_equal_scores_share_the_choice():
    assert score_choice([3.0, 1.0, 2.0], 0) == 100
    assert score_choice([1.0, 3.0], 0) == 0
    assert score_choice([2.0, 2.0], 0) == 50
    assert score_choice([2.0, 2.0 + 1e-7, 1.0], 1e-6) == 50
    assert score_choice([1.0, 1.0, 1.0, 1.0, 1.0], 0) == 20


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[2, 1], [1, 2]], (100, 100, 100, 100)),
        ([[1, 2], [2, 1]], (0, 0, 0, 0)),
        ([[5, 1], [5, 1]], (50, 0, 0, 0)),  # blind
        ([[1, 1], [1, 1]], (50, 0, 0, 0)),
        ([[9, 8], [1, 2]], (100, 100, 0, 0)),  # right captions; the first image suits both best
        ([[9, 1], [8, 2]], (50, 0, 100, 0)),  # right images; the first caption suits both best
    ],
)
def test_winogrounds_scores(scores, expected):
    scored = score_twins(np.asarray(scores, dtype=float), 0)
    assert tuple(scored[name] for name in ("accuracy", "text", "image", "group")) == expected


def test_random_scores_reach_winogrounds_chance():
    scored = [score_twins(scores, 0) for scores in np.random.default_rng(0).random((5_000, 2, 2))]
    means = {name: np.mean([one[name] for one in scored]) for name in scored[0]}
    assert means == pytest.approx({"accuracy": 50, "text": 25, "image": 25, "group": 100 / 6}, abs=2)


def test_metrics_are_means_by_stratum():
    choices = [ChoiceItem(str(n), "order" if n < 2 else "count", IMAGE, ("a", "b")) for n in range(3)]
    twins = [TwinItem(f"t{n}", "count", (IMAGE, IMAGE), ("a", "b")) for n in range(2)]
    test = CompositionTest(choices, twins)
    right, blind = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[5.0, 1.0], [5.0, 1.0]])
    scores = score_composition(test, [[1, 0], [0, 1], [1, 0]], [right, blind], 0, 20)
    assert scores.metrics == {
        "accuracy/twins": 75, "text": 50, "image": 50, "group": 50, "accuracy/order": 50, "accuracy/count": 100,
    }  # fmt: skip
    assert scores.intervals.keys() == scores.metrics.keys()
    assert scores.per_example == [100, 50]
    assert scores.tables["twins"]["count"]["num_twins"] == 2
    assert scores.tables["choices"]["order"] == {"num_items": 2, "chance": 50}
