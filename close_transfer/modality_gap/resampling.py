"""Bootstrap over scenes: values of metrics with 95% intervals.

Shapes: s scenes, r resamples; weights count the draws of each scene in a resample.
"""

from collections.abc import Callable, Sequence

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.cosines import LENGTHS

Metrics = dict[str, float]
Intervals = dict[str, tuple[float, float]]

SPECTRAL_RESAMPLES = 100  # at most, for metrics that need eigenvalues, which are slow
_RESAMPLES_AT_ONCE = 200  # bounds the matrix of counts, resamples x scenes
_HALF_WIDTH = 1.96  # standard deviations of a normal distribution that enclose 95%


def _check_finite(value: float) -> float:
    if not np.isfinite(value):
        raise UserError("the gap needs two scenes or more, because it compares unrelated vectors. Give more data")
    return float(value)


def draw_scene_weights(num_scenes: int, num_resamples: int, rng: np.random.Generator) -> Float64Array:
    """Draw resamples of the scenes with replacement, shape (r, s)."""
    probabilities = np.full(num_scenes, 1 / num_scenes)
    return rng.multinomial(num_scenes, probabilities, size=num_resamples).astype(np.float64)


def compute_normal_interval(value: float, drawn: Sequence[float] | Float64Array) -> tuple[float, float]:
    """Return the normal interval: the value and 1.96 standard deviations of its resamples.

    Resamples repeat scenes, so they look flatter and farther apart than the data. Their spread is right and
    their centre is biased (Efron and Tibshirani 1993, section 12.4).
    """
    half_width = _HALF_WIDTH * float(np.std(drawn, ddof=1))
    return value - half_width, value + half_width


def resample_metrics(
    compute_metrics: Callable[[Float64Array], dict[str, Float64Array]], num_scenes: int, num_resamples: int, seed: int
) -> tuple[Metrics, Intervals]:
    """Return metrics with intervals, by percentiles; normal ones for `LENGTHS`.

    Args:
        compute_metrics: returns metrics, shape (r,) each, for weights, shape (r, s).
        num_scenes: number of scenes.
        num_resamples: number of draws.
        seed: seed of the draws.

    Raises:
        UserError: if a metric is not finite, because there are fewer than two scenes.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[Float64Array]] = {}
    for start in range(0, num_resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, num_resamples - start)
        for name, values in compute_metrics(draw_scene_weights(num_scenes, size, rng)).items():
            drawn.setdefault(name, []).append(values)
    metrics = {name: _check_finite(values[0]) for name, values in compute_metrics(np.ones((1, num_scenes))).items()}
    intervals = {}
    for name, value in metrics.items():
        values = np.concatenate(drawn[name])
        if name in LENGTHS:
            intervals[name] = compute_normal_interval(value, values)
        else:
            # A resample of a single scene has no unrelated pairs, so it divides rounding errors by zero.
            low, high = np.nanpercentile(np.where(np.isfinite(values), values, np.nan), [2.5, 97.5])
            intervals[name] = (float(low), float(high))
    return metrics, intervals


def resample_spectral_metrics(
    compute_metrics: Callable[[Float64Array], Metrics], num_scenes: int, num_resamples: int, seed: int
) -> tuple[Metrics, Intervals]:
    """Return metrics of eigenvalues, with normal intervals around them.

    Args:
        compute_metrics: returns metrics for the weights of one resample, shape (s,).
        num_scenes: number of scenes.
        num_resamples: number of draws; at most `SPECTRAL_RESAMPLES` are used.
        seed: seed of the draws.
    """
    metrics = compute_metrics(np.ones(num_scenes))
    weights = draw_scene_weights(num_scenes, min(num_resamples, SPECTRAL_RESAMPLES), np.random.default_rng(seed))
    drawn = [compute_metrics(resample) for resample in weights]
    return metrics, {
        name: compute_normal_interval(value, [resample[name] for resample in drawn]) for name, value in metrics.items()
    }
