import numpy as np
import pytest

from close_transfer.metrics.bootstrap import average_scores, compare_paired, compare_paired_means


def hard_and_easy(num_examples=1000, gain=0.5):
    """Two systems on examples that differ far more than the systems do."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(50, 20, size=num_examples)
    a, b = (difficulty + rng.normal(0, 2, size=num_examples) for _ in range(2))
    return a + gain, b


def test_interval_is_that_of_the_normal_approximation():
    a, b = hard_and_easy()
    found = compare_paired_means(a, b, 4000)
    half = 1.96 * (a - b).std() / np.sqrt(len(a))
    assert found.difference == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half), abs=0.15 * half)


def test_pairing_sees_what_unpaired_intervals_hide():
    a, b = hard_and_easy()
    found = compare_paired_means(a, b, 1000)
    _, unpaired = average_scores({"a": a, "b": b}, 1000)
    narrow = found.high - found.low
    assert unpaired["a"][0] < unpaired["b"][1], "the two intervals overlap"
    assert all(high - low > 5 * narrow for low, high in unpaired.values())
    assert found.low > 0
    assert found.share_better > 0.99


def test_a_system_is_as_good_as_itself():
    a, _ = hard_and_easy()
    same = compare_paired_means(a, a, 100)
    assert (same.difference, same.low, same.high, same.share_better) == (0, 0, 0, 0.5)


def test_the_other_way_round_is_the_opposite():
    a, b = hard_and_easy(gain=0.05)
    there, back = compare_paired_means(a, b, 1000, seed=3), compare_paired_means(b, a, 1000, seed=3)
    assert back.difference == pytest.approx(-there.difference)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert back.share_better == pytest.approx(1 - there.share_better)
    assert 0.5 < there.share_better < 0.99


def test_intervals_cover_what_they_promise():
    """About 95% of the intervals of 200 pairs of systems hold the true difference of 0.1."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        b = rng.normal(size=100)
        found = compare_paired_means(b + rng.normal(0.1, 0.5, size=100), b, 400)
        covered += found.low <= 0.1 <= found.high
    assert 180 <= covered <= 199


def test_metrics_of_sums_are_compared_by_name():
    """A ratio of sums, as BLEU's precisions are: matches of two systems over the same number of words."""
    words = np.array([10.0, 2.0, 5.0, 8.0])
    a = np.stack([np.array([5.0, 2.0, 4.0, 8.0]), words], axis=1)
    b = np.stack([np.array([5.0, 1.0, 2.0, 2.0]), words], axis=1)
    found = compare_paired(a, b, lambda sums: {"share": sums[:, 0] / sums[:, 1], "words": sums[:, 1]}, 2000)
    assert found["share"].difference == pytest.approx((19 - 10) / 25)
    assert found["share"].high <= 6 / 8
    assert found["share"].low >= 0
    # Only drawing the first example four times, 1 in 256, leaves no difference.
    assert 0.99 < found["share"].share_better < 1
    assert (found["words"].difference, found["words"].share_better) == (0, 0.5)


def test_draws_depend_on_the_seed_alone():
    a, b = hard_and_easy(200)
    assert compare_paired_means(a, b, 50, seed=1) == compare_paired_means(a, b, 50, seed=1)
    assert compare_paired_means(a, b, 50, seed=1) != compare_paired_means(a, b, 50, seed=2)


@pytest.mark.parametrize(("num_a", "num_b"), [(3, 4), (0, 0)])
def test_what_is_not_paired_is_refused(num_a, num_b):
    with pytest.raises(ValueError, match="cannot be paired"):
        compare_paired_means(np.zeros(num_a), np.zeros(num_b), 10)
