"""How a trained model is asked to write, and which of several candidates becomes its answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from close_transfer.config.components import ClipConfig
from close_transfer.config.decoding import AnsweringConfig
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.inference.decoding import Decoding
from close_transfer.models.network import TransferNetwork


def build_decoding(config: AnsweringConfig, model: TransferNetwork) -> Decoding:
    """The decoding that a command was asked for; the task's own beams where none are given.

    Raises:
        UserError: if more candidates are asked for than beams, or both beams and sampling.
    """
    num_beams = config.num_beams or (1 if config.top_p is not None else model.config.task["num_beams"])
    return Decoding(num_beams, config.num_return, config.top_p, config.temperature, config.sampling_seed)


class Reranker:
    """Puts that candidate first which an encoder finds most similar to what was shown.

    Re-ranking by CLIP as MacCap does (arXiv 2401.02347); it needs no training.

    Attributes:
        encoder: whose similarity it is.
        facts: what results say of it: the encoder's name and fingerprint, and whether it is the run's own.
    """

    def __init__(self, config: AnsweringConfig, trained: ClipConfig, labels: Sequence[str], device: str) -> None:
        """Loads the encoder that was asked for, else the run's own.

        Raises:
            UserError: if it is none of both texts and images, or the task has labels to choose from.
        """
        if labels:
            raise UserError(
                f"rerank=true: the task's answer is one of {', '.join(labels)} by likelihood; leave rerank out"
            )
        clip = config.rerank_encoder or trained
        if not clip.is_joint:
            raise UserError(
                "rerank=true compares texts with images, so an encoder of both is needed; give clip@rerank_encoder=open_clip "
                "rerank_encoder.model=NAME"
            )
        self.encoder: Encoder = load_encoder(clip, device)
        self.is_own = config.rerank_encoder is None or config.rerank_encoder == trained
        self.facts: dict[str, Any] = {
            "encoder": self.encoder.name, "fingerprint": self.encoder.fingerprint, "is_own": self.is_own,
        }  # fmt: skip

    def __call__(self, predictions: Sequence[Prediction], vectors: NDArray[np.floating]) -> list[Prediction]:
        """The predictions with their candidates in order of similarity, highest first.

        Args:
            predictions: with several candidates each.
            vectors: what was shown, raw, by the encoder; shape (predictions, dim).
        """
        texts = list(dict.fromkeys(text for prediction in predictions for text in prediction.candidates))
        if not texts:
            return list(predictions)
        row_of = {text: row for row, text in enumerate(texts)}
        encoded = self.encoder.encode_texts(texts)
        encoded = encoded / np.linalg.norm(encoded, axis=1, keepdims=True)
        shown_vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return [
            _sort_candidates(
                prediction, [float(encoded[row_of[text]] @ shown_vectors[row]) for text in prediction.candidates]
            )
            for row, prediction in enumerate(predictions)
        ]


def _sort_candidates(prediction: Prediction, similarities: Sequence[float]) -> Prediction:
    order = np.argsort(np.negative(similarities), kind="stable")
    return replace(
        prediction,
        candidates=tuple(prediction.candidates[i] for i in order),
        scores=tuple(prediction.scores[i] for i in order),
        similarities=tuple(similarities[i] for i in order),
    )
