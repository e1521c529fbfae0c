"""Metrics of captions that are computed only when asked for: SPICE needs other people's models, CLIPScore images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig, OpenClipConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction
from close_transfer.encoders import OpenClipEncoder
from close_transfer.encoders.embeddings import encode_image_scenes, encode_texts
from close_transfer.metrics.bootstrap import Scores, average_scores
from close_transfer.metrics.clipscore import CLIPSCORE_PREFIX, compute_clip_score, compute_ref_clip_score
from close_transfer.metrics.ptb import get_cache_folder, tokenize_ptb
from close_transfer.metrics.spice import score_spice
from close_transfer.tasks import Task


def compute_extra_scores(
    names: Sequence[str],
    examples: Sequence[Example],
    answers: Sequence[str],
    clip: OpenClipConfig | None,
    embedding_cache: EmbeddingCacheConfig,
    device: str,
) -> tuple[dict[str, Float64Array], dict[str, Any] | None]:
    """Metrics asked for beside the usual.

    Args:
        names: of "spice" and "clipscore".
        examples: with references and, for CLIPScore, images.
        answers: a caption for each.
        clip: the encoder that CLIPScore compares with.
        embedding_cache: where vectors are kept.
        device: for the encoder.

    Returns:
        Scores times 100 by metric, shape (examples,) each; and name and fingerprint of CLIPScore's encoder.

    Raises:
        UserError: if SPICE's models or an image are missing.
    """
    scores: dict[str, Float64Array] = {}
    if "spice" in names:
        cache = get_cache_folder()
        hypotheses = [group[0] for group in tokenize_ptb([[answer] for answer in answers])]
        references = tokenize_ptb([e.references for e in examples], cache / "tokenized")
        scores["SPICE"] = 100 * score_spice(hypotheses, references, cache / "spice")
    if "clipscore" not in names:
        return scores, None
    assert clip is not None
    encoder = OpenClipEncoder(clip, device)
    return scores | _compute_clip_scores(encoder, examples, answers, embedding_cache), {
        "name": encoder.name,
        "fingerprint": encoder.fingerprint,
    }


def _compute_clip_scores(
    encoder: OpenClipEncoder, examples: Sequence[Example], answers: Sequence[str], embedding_cache: EmbeddingCacheConfig
) -> dict[str, Float64Array]:
    images = encode_image_scenes(encoder, examples, embedding_cache)[np.arange(len(examples))]
    captions = [CLIPSCORE_PREFIX + answer for answer in answers]
    references = [[CLIPSCORE_PREFIX + text for text in example.references] for example in examples]
    table = encode_texts(encoder, [*captions, *(text for group in references for text in group)], embedding_cache)

    def gather_vectors(texts: Sequence[str]) -> Any:
        return table.gather(np.array([table.row_of[text] for text in texts]))

    caption_vectors = gather_vectors(captions)
    return {
        "CLIPScore": 100 * compute_clip_score(images, caption_vectors),
        "RefCLIPScore": 100
        * compute_ref_clip_score(images, caption_vectors, [gather_vectors(group) for group in references]),
    }


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
        The scores, empty where nobody published the answers (test-dev), and the encoder of CLIPScore if it was used.

    Raises:
        UserError: if CLIPScore has no encoder of both images and texts.
    """
    if not any(example.references for example in examples):
        return Scores(), None
    scores = task.score(examples, predictions, config.num_bootstrap)
    if not config.extra_metrics:
        return scores, None
    scorer = config.clipscore or clip
    if "clipscore" in config.extra_metrics and not isinstance(scorer, OpenClipConfig):
        raise UserError(
            "extra_metrics=clipscore compares captions with images, so an encoder of both is needed; give clip@clipscore=open_clip clipscore.model=NAME"
        )
    extra, encoder = compute_extra_scores(
        config.extra_metrics, examples, [p.text for p in predictions],
        scorer if isinstance(scorer, OpenClipConfig) else None, config.embedding_cache, device,
    )  # fmt: skip
    values, intervals = average_scores(extra, config.num_bootstrap)
    scores.metrics |= values
    scores.intervals |= intervals
    return scores, encoder
