"""Bootstrap over examples. All metrics are functions of sums over examples, so the sums are resampled."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import Float64Array

_CELLS = 20_000_000  # cells of the matrix of counts per chunk, 160 MB
_KEPT_CELLS = 10_000_000  # cells of a matrix that is kept for the next metrics of the same examples, 40 MB


@dataclass
class Scores:
    """Metrics by name, with their 95% bootstrap intervals, and one number per example.

    Attributes:
        metrics: value by metric name.
        intervals: (low, high) by metric name.
        per_example: the leading metric for each example, to find the best and worst cases.
        leading: name of the leading metric.
        tables: results that are not single numbers, such as confusion matrices, by name, as JSON values.
        notes: facts about how the metrics were computed, one sentence each.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    per_example: list[float] = field(default_factory=list)
    leading: str = ""
    tables: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def resample_sums(statistics: Float64Array, num_resamples: int, seed: int = 0) -> Float64Array:
    """Compute sums over examples that are drawn with replacement.

    Args:
        statistics: statistics of each example, shape (examples, statistics).
        num_resamples: number of resamples, each as large as the set of examples.
        seed: seed of the draws.

    Returns:
        Sums of shape (num_resamples, statistics), float64.
    """
    num_examples = len(statistics)
    if num_examples * num_resamples <= _KEPT_CELLS:
        return _draw_kept_counts(num_examples, num_resamples, seed) @ statistics
    chunk_size = max(1, _CELLS // num_examples)
    sums = [counts @ statistics for counts in _draw_counts(num_examples, num_resamples, seed, chunk_size)]
    return np.concatenate(sums)


@lru_cache(maxsize=1)
def _draw_kept_counts(num_examples: int, num_resamples: int, seed: int) -> NDArray[np.int32]:
    """Draw the counts of all resamples, or return those of the last call. Drawing takes longer than the sums."""
    (counts,) = _draw_counts(num_examples, num_resamples, seed, num_resamples)
    return counts.astype(np.int32)


def _draw_counts(num_examples: int, num_resamples: int, seed: int, chunk_size: int) -> Iterator[NDArray[np.int64]]:
    """Draw how often each example is in each resample; chunks of shape (resamples, examples)."""
    rng = np.random.default_rng(seed)
    probabilities = np.full(num_examples, 1 / num_examples)
    for start in range(0, num_resamples, chunk_size):
        yield rng.multinomial(num_examples, probabilities, size=min(chunk_size, num_resamples - start))


def score_sums(
    statistics: Float64Array,
    metrics: Callable[[Float64Array], Mapping[str, Float64Array]],
    num_resamples: int,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Compute values and 95% percentile intervals of metrics that are functions of summed statistics.

    Args:
        statistics: statistics of each example, shape (examples, statistics).
        metrics: function from sums, shape (rows, statistics), to values of each metric, shape (rows,).
        num_resamples: number of bootstrap resamples.
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
    """Compute means over examples and their intervals; a metric with a mask uses only the examples that it selects.

    Args:
        by_name: one number per example for each metric, shape (examples,) each.
        num_resamples: number of bootstrap resamples.
        masks: masks by metric name, shape (examples,) each; metrics without a mask use every example.
    """
    names = list(by_name)
    num_examples = len(next(iter(by_name.values())))
    all_examples = np.ones(num_examples, dtype=bool)
    used_masks = [(masks or {}).get(name, all_examples) for name in names]
    columns = [by_name[name] * mask for name, mask in zip(names, used_masks, strict=True)]
    statistics = np.stack([*columns, *(mask.astype(float) for mask in used_masks)], axis=1)

    def compute_means(sums: Float64Array) -> dict[str, Float64Array]:
        totals, counts = np.split(sums, 2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return dict(zip(names, (totals / counts).T, strict=True))

    return score_sums(statistics, compute_means, num_resamples)


@dataclass(frozen=True)
class PairedDifference:
    """Difference between systems A and B on the same examples.

    Attributes:
        difference: A minus B over all examples, in the metric's unit.
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
    """Compare two systems in metrics that are functions of summed statistics.

    Every resample draws the same examples for both (Koehn 2004, paired bootstrap), so the examples' common
    difficulty cancels out.

    Args:
        statistics_a: statistics of system A, shape (examples, statistics).
        statistics_b: statistics of system B, of the same shape, for the same examples in the same order.
        metrics: function as for `score_sums`; higher is better.
        num_resamples: number of bootstrap resamples.
        seed: seed of the draws.

    Raises:
        ValueError: if the shapes differ or there are no examples.
    """
    if statistics_a.shape != statistics_b.shape or not len(statistics_a):
        raise ValueError(f"statistics of shapes {statistics_a.shape} and {statistics_b.shape} cannot be paired")
    width = statistics_a.shape[1]
    both = np.concatenate([statistics_a, statistics_b], axis=1)
    # The first row is the sum over every example once; the resamples follow.
    sums = np.concatenate([both.sum(axis=0, keepdims=True), resample_sums(both, num_resamples, seed)])
    metrics_a, metrics_b = metrics(sums[:, :width]), metrics(sums[:, width:])
    differences = {}
    for name in metrics_a:
        observed, *drawn = metrics_a[name] - metrics_b[name]
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        better = float(np.nanmean((np.sign(drawn) + 1) / 2))
        differences[name] = PairedDifference(float(observed), float(low), float(high), better)
    return differences


def compare_paired_means(a: Float64Array, b: Float64Array, num_resamples: int, seed: int = 0) -> PairedDifference:
    """Compare two systems' mean scores on the same examples.

    Args:
        a: system A's score of each example, higher is better, shape (examples,).
        b: system B's scores of the same examples, in the same order.
        num_resamples: number of bootstrap resamples.
        seed: seed of the draws.

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
