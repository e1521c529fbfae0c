"""Settings of the decoding from a command's settings, and re-ranking of candidates by CLIP similarity."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from close_transfer.config.components import ClipConfig
from close_transfer.config.decoding import AnsweringConfig
from close_transfer.core.arrays import FloatArray
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.inference.decoding import Decoding
from close_transfer.inference.decoding_precision import resolve_decoding_precision
from close_transfer.models.network import TransferNetwork


def build_decoding(config: AnsweringConfig, model: TransferNetwork) -> Decoding:
    """Return the decoding that a command's settings name; the task's number of beams is the default.

    Raises:
        UserError: if there are more candidates than beams, or both beams and sampling, or the device lacks the precision.
    """
    num_beams = config.num_beams or (1 if config.top_p is not None else model.config.task["num_beams"])
    precision = resolve_decoding_precision(config.decoding_precision, model.device.type)
    return Decoding(num_beams, config.num_return, config.top_p, config.temperature, config.sampling_seed, precision)


class Reranker:
    """Re-ranker of candidates by the cosine similarity of an encoder to the input, without training.

    MacCap re-ranks by CLIP in this way (arXiv 2401.02347).

    Attributes:
        encoder: encoder that the similarity is computed with.
        is_own: True if it is the run's own encoder.
        facts: description for results: the encoder's name and fingerprint, and `is_own`.
    """

    def __init__(self, config: AnsweringConfig, trained: ClipConfig, labels: Sequence[str], device: str) -> None:
        """Load the encoder that the settings name, or the run's own if they name none.

        Args:
            config: settings of the decoding.
            trained: settings of the run's encoder.
            labels: labels of the task; empty if it has none.
            device: device of the encoder.

        Raises:
            UserError: if the encoder cannot encode both texts and images, or the task has labels to choose from.
        """
        if labels:
            raise UserError(
                f"rerank=true: the task's answer is one of {', '.join(labels)}, chosen by likelihood. Leave rerank out"
            )
        clip = config.rerank_encoder or trained
        if not clip.is_joint:
            raise UserError(
                f"rerank=true compares texts with images, and an encoder of kind {clip.kind} does not encode both. Give "
                "clip@rerank_encoder=open_clip rerank_encoder.model=NAME"
            )
        self.encoder: Encoder = load_encoder(clip, device)
        self.is_own = config.rerank_encoder is None or config.rerank_encoder == trained
        self.facts: dict[str, Any] = {
            "encoder": self.encoder.name, "fingerprint": self.encoder.fingerprint, "is_own": self.is_own,
        }  # fmt: skip

    def __call__(self, predictions: Sequence[Prediction], vectors: FloatArray) -> list[Prediction]:
        """Sort the candidates of each prediction by their similarity to the input, highest first.

        Args:
            predictions: predictions, with several candidates each.
            vectors: raw vectors of the inputs by `encoder`, shape (predictions, dim).
        """
        texts = list(dict.fromkeys(text for prediction in predictions for text in prediction.candidates))
        if not texts:
            return list(predictions)
        row_of = {text: row for row, text in enumerate(texts)}
        encoded = self.encoder.encode_texts(texts)
        encoded = encoded / np.linalg.norm(encoded, axis=1, keepdims=True)
        input_vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return [
            _sort_candidates(
                prediction, [float(encoded[row_of[text]] @ input_vectors[row]) for text in prediction.candidates]
            )
            for row, prediction in enumerate(predictions)
        ]


def _sort_candidates(prediction: Prediction, similarities: Sequence[float]) -> Prediction:
    # Stable, so that equally similar candidates stay in the order of their likelihood.
    order = np.argsort(np.negative(similarities), kind="stable")
    return replace(
        prediction,
        candidates=tuple(prediction.candidates[i] for i in order),
        scores=tuple(prediction.scores[i] for i in order),
        similarities=tuple(similarities[i] for i in order),
    )
