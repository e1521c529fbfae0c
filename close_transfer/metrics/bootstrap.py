"""Bootstrap over examples: every metric here is a function of sums, so sums are what is resampled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import Float64Array

_CELLS = 20_000_000  # of the matrix of draws that is held at once


@dataclass
class Scores:
    """Numbers by metric name, with their 95% bootstrap intervals, and one number an example.

    Attributes:
        metrics: value by name.
        intervals: (low, high) by the same names.
        per_example: the leading metric for each example, to find the best and worst cases.
        leading: the name of that metric.
        tables: what no single number holds, by name, ready for JSON: the confusion matrix.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    per_example: list[float] = field(default_factory=list)
    leading: str = ""
    tables: dict[str, Any] = field(default_factory=dict)


def resample_sums(statistics: Float64Array, num_resamples: int, seed: int = 0) -> Float64Array:
    """Sums over examples drawn with replacement.

    Args:
        statistics: shape (examples, statistics).
        num_resamples: how many times to draw as many examples as there are.
        seed: of the draws.

    Returns:
        Shape (num_resamples, statistics), float64.
    """
    num_examples = len(statistics)
    rng = np.random.default_rng(seed)
    probabilities = np.full(num_examples, 1 / num_examples)
    at_once = max(1, _CELLS // num_examples)
    sums = []
    for start in range(0, num_resamples, at_once):
        counts = rng.multinomial(num_examples, probabilities, size=min(at_once, num_resamples - start))
        sums.append(counts @ statistics)
    return np.concatenate(sums)


def score_sums(
    statistics: Float64Array,
    metrics: Callable[[Float64Array], Mapping[str, Float64Array]],
    num_resamples: int,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Values and 95% percentile intervals of metrics that are functions of summed statistics.

    Args:
        statistics: shape (examples, statistics).
        metrics: takes sums of shape (rows, statistics), gives a value a row for every metric.
        num_resamples: bootstrap draws.
    """
    values = {name: float(row[0]) for name, row in metrics(statistics.sum(axis=0, keepdims=True)).items()}
    resampled = metrics(resample_sums(statistics, num_resamples))
    intervals = {}
    for name, drawn in resampled.items():
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        intervals[name] = (float(low), float(high))
    return values, intervals


def average_scores(
    by_name: Mapping[str, Float64Array], num_resamples: int, masks: Mapping[str, NDArray[np.bool_]] | None = None
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Means over examples, each over those its mask admits (over all where it has none).

    Args:
        by_name: one number an example for every metric, shape (examples,) each.
        num_resamples: bootstrap draws.
        masks: shape (examples,) each; metrics without a mask use every example.
    """
    names = list(by_name)
    num_examples = len(next(iter(by_name.values())))
    everything = np.ones(num_examples, dtype=bool)
    admitted = [(masks or {}).get(name, everything) for name in names]
    columns = [by_name[name] * mask for name, mask in zip(names, admitted, strict=True)]
    statistics = np.stack([*columns, *(mask.astype(float) for mask in admitted)], axis=1)

    def compute_means(sums: Float64Array) -> dict[str, Float64Array]:
        totals, counts = np.split(sums, 2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return dict(zip(names, (totals / counts).T, strict=True))

    return score_sums(statistics, compute_means, num_resamples)


@dataclass(frozen=True)
class PairedDifference:
    """How much better system A is than system B on the same examples.

    Attributes:
        difference: A minus B over all examples, in the metric's own unit.
        low, high: its 95% percentile interval over resamples of the examples.
        share_better: share of resamples in which A is better, in 0..1; ties count half.
    """

    difference: float
    low: float
    high: float
    share_better: float


def compare_paired(
    statistics_a: Float64Array,
    statistics_b: Float64Array,
    metrics: Callable[[Float64Array], Mapping[str, Float64Array]],
    num_resamples: int,
    seed: int = 0,
) -> dict[str, PairedDifference]:
    """Differences of two systems in metrics that are functions of summed statistics.

    Every resample draws the same examples for both (Koehn 2004, paired bootstrap), so what makes an example
    easy or hard for both cancels out.

    Args:
        statistics_a, statistics_b: shape (examples, statistics), the same examples in the same order.
        metrics: as for `score_sums`; higher is better.
        num_resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        ValueError: if the two do not have the same examples and statistics, or there are none.
    """
    if statistics_a.shape != statistics_b.shape or not len(statistics_a):
        raise ValueError(f"statistics of shapes {statistics_a.shape} and {statistics_b.shape} cannot be paired")
    width = statistics_a.shape[1]
    both = np.concatenate([statistics_a, statistics_b], axis=1)
    # The first row is the sum over every example once; the resamples follow.
    sums = np.concatenate([both.sum(axis=0, keepdims=True), resample_sums(both, num_resamples, seed)])
    of_a, of_b = metrics(sums[:, :width]), metrics(sums[:, width:])
    differences = {}
    for name in of_a:
        observed, *drawn = of_a[name] - of_b[name]
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        better = float(np.nanmean((np.sign(drawn) + 1) / 2))
        differences[name] = PairedDifference(float(observed), float(low), float(high), better)
    return differences


def compare_paired_means(a: Float64Array, b: Float64Array, num_resamples: int, seed: int = 0) -> PairedDifference:
    """Difference of two systems' mean scores on the same examples.

    Args:
        a, b: one score an example, higher is better, shape (examples,), the same examples in the same order.
        num_resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        ValueError: if the shapes differ or there are no examples.
    """
    scores_a, scores_b = (np.asarray(scores, dtype=np.float64) for scores in (a, b))
    means = compare_paired(
        np.stack([scores_a, np.ones_like(scores_a)], axis=1),
        np.stack([scores_b, np.ones_like(scores_b)], axis=1),
        lambda sums: {"mean": sums[:, 0] / sums[:, 1]},
        num_resamples,
        seed,
    )
    return means["mean"]
