"""Caption metrics that are computed only on request, with the encoder that some of them need."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.core.arrays import Float32Array, Float64Array
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.encoders.embeddings import encode_image_scenes, encode_texts
from close_transfer.metrics.bootstrap import Scores, average_scores
from close_transfer.metrics.extra_metric import MetricInputs
from close_transfer.metrics.extra_metrics import EXTRA_METRICS
from close_transfer.tasks import Task


def list_image_metrics(names: Sequence[str]) -> list[str]:
    """Return the names of the metrics that compare captions with images."""
    return [name for name in names if EXTRA_METRICS[name].needs_images]


def check_extra_metrics(names: Sequence[str], clip: ClipConfig | None) -> None:
    """Check that the metrics have what they need, before slow work begins.

    Args:
        names: names of the metrics.
        clip: encoder for the metrics that compare captions with images.

    Raises:
        UserError: if a program or file is missing, or the encoder does not encode both images and texts.
    """
    for name in names:
        EXTRA_METRICS[name].check_requirements()
    if (compared := list_image_metrics(names)) and (clip is None or not clip.is_joint):
        raise UserError(
            f"extra_metrics={compared[0]} compares captions with images, so it needs an encoder of both. "
            "Give clip@clipscore=open_clip clipscore.model=NAME"
        )


class _CachedSceneEncoder:
    """Encoder of the scored examples, whose vectors are kept in the embedding cache."""

    def __init__(self, encoder: Encoder, examples: Sequence[Example], cache: EmbeddingCacheConfig) -> None:
        self._encoder, self._examples, self._cache = encoder, examples, cache

    def encode_images(self) -> Float32Array:
        return encode_image_scenes(self._encoder, self._examples, self._cache)[np.arange(len(self._examples))]

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        matrix, rows = encode_texts(self._encoder, texts, self._cache)
        return matrix.gather(rows)


def compute_extra_scores(
    names: Sequence[str],
    examples: Sequence[Example],
    answers: Sequence[str],
    clip: ClipConfig | None,
    embedding_cache: EmbeddingCacheConfig,
    device: str,
) -> tuple[dict[str, Float64Array], dict[str, Any] | None]:
    """Compute the metrics that were requested in addition to the task's own.

    Args:
        names: keys of `EXTRA_METRICS`.
        examples: examples with references and, for metrics that need them, images.
        answers: one caption per example.
        clip: encoder that captions and images are compared with.
        embedding_cache: cache for the encoder's vectors.
        device: device of the encoder.

    Returns:
        Scores by name, each of shape (examples,); and name and fingerprint of the encoder if it was used.

    Raises:
        UserError: if a metric lacks what it needs, or an image is missing.
    """
    check_extra_metrics(names, clip)
    encoder = None
    if clip is not None and list_image_metrics(names):
        encoder = load_encoder(clip, device)
    inputs = MetricInputs(
        answers,
        [example.references for example in examples],
        None if encoder is None else _CachedSceneEncoder(encoder, examples, embedding_cache),
    )
    scores: dict[str, Float64Array] = {}
    for name, metric in EXTRA_METRICS.items():
        if name in names:
            scores |= metric.score(inputs)
    return scores, None if encoder is None else {"name": encoder.name, "fingerprint": encoder.fingerprint}


def score_predictions(
    config: EvaluateConfig,
    task: Task,
    clip: ClipConfig,
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    device: str,
) -> tuple[Scores, dict[str, Any] | None]:
    """Score predictions by the task's metrics and the extra ones.

    Returns:
        The scores, empty if the answers are not public (test-dev); and name and fingerprint of CLIPScore's
        encoder if it was used.

    Raises:
        UserError: if an extra metric lacks what it needs.
    """
    if not any(example.references for example in examples):
        return Scores(), None
    scores = task.score(examples, predictions, config.num_bootstrap)
    if not config.extra_metrics:
        return scores, None
    extra, encoder = compute_extra_scores(
        config.extra_metrics,
        examples,
        [p.text for p in predictions],
        config.clipscore or clip,
        config.embedding_cache,
        device,
    )
    values, intervals = average_scores(extra, config.num_bootstrap)
    scores.metrics |= values
    scores.intervals |= intervals
    return scores, encoder
