"""Bootstrap over examples: every metric here is a function of sums, so sums are what is resampled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CELLS = 20_000_000  # of the matrix of draws that is held at once


@dataclass
class Scores:
    """Numbers by metric name, with their 95% bootstrap intervals, and one number an example.

    Attributes:
        metrics: value by name.
        intervals: (low, high) by the same names.
        per_example: the leading metric for each example, to find the best and worst cases.
        leading: the name of that metric.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    per_example: list[float] = field(default_factory=list)
    leading: str = ""


def resampled_sums(statistics: Floats, num_resamples: int, seed: int = 0) -> Floats:
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
    even = np.full(num_examples, 1 / num_examples)
    at_once = max(1, _CELLS // num_examples)
    sums = []
    for start in range(0, num_resamples, at_once):
        counts = rng.multinomial(num_examples, even, size=min(at_once, num_resamples - start))
        sums.append(counts @ statistics)
    return np.concatenate(sums)


def score_sums(
    statistics: Floats,
    metrics: Callable[[Floats], Mapping[str, Floats]],
    num_resamples: int,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Values and 95% percentile intervals of metrics that are functions of summed statistics.

    Args:
        statistics: shape (examples, statistics).
        metrics: takes sums of shape (rows, statistics), gives a value a row for every metric.
        num_resamples: bootstrap draws.
    """
    values = {name: float(row[0]) for name, row in metrics(statistics.sum(axis=0, keepdims=True)).items()}
    resampled = metrics(resampled_sums(statistics, num_resamples))
    intervals = {}
    for name, drawn in resampled.items():
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        intervals[name] = (float(low), float(high))
    return values, intervals


def mean_scores(
    by_name: Mapping[str, Floats], num_resamples: int, masks: Mapping[str, NDArray[np.bool_]] | None = None
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

    def means(sums: Floats) -> dict[str, Floats]:
        totals, counts = np.split(sums, 2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return dict(zip(names, (totals / counts).T, strict=True))

    return score_sums(statistics, means, num_resamples)
