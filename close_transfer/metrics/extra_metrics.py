"""Register of the metrics that are computed only on request."""

from close_transfer.metrics.clipscore import ClipScore
from close_transfer.metrics.extra_metric import ExtraMetric
from close_transfer.metrics.spice import Spice

# Keys are the names in `extra_metrics=`, which are also in `config.choices.ExtraMetricName`.
EXTRA_METRICS: dict[str, ExtraMetric] = {
    "spice": Spice(),
    "clipscore": ClipScore(),
}

# Scores that are comparable only if the same encoder was used.
ENCODER_SCORES = frozenset(
    name for metric in EXTRA_METRICS.values() if metric.needs_images for name in metric.score_names
)
