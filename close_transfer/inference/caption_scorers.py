"""Scorers of given captions for images: by an encoder's similarity, or by a captioner's likelihood."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from tqdm import tqdm

from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig
from close_transfer.config.saved_run import ScoredRun
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import Float32Array
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.examples import Example, ImageRef
from close_transfer.encoders import AnyEncoder, load_encoder
from close_transfer.encoders.embeddings import encode_image_refs, encode_texts
from close_transfer.encoders.out_of_memory import advise_halving, explain_lack_of_memory
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.inference.loading import check_encoder, load_model
from close_transfer.tasks import build_task
from close_transfer.tasks.captioning import Captioning
from close_transfer.training.runs import find_run, read_run

T = TypeVar("T")


class CaptionScorer(Protocol):
    """Scorer of captions.

    Attributes:
        name: name of the system for users.
        encoder: frozen encoder of the images.
        tolerance: largest difference of scores that count as equal, because they can come from rounding.
    """

    name: str
    encoder: AnyEncoder
    tolerance: float

    def score(self, images: Sequence[ImageRef], captions: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the score of each of an image's captions, higher is better.

        Args:
            images: images; an image may be there several times.
            captions: captions of each image.
        """


class SimilarityScorer:
    """Cosine of image and caption, for an encoder of both (CLIP)."""

    tolerance = 1e-6  # rounding of a cosine of float32 vectors

    def __init__(self, clip: ClipConfig, cache: EmbeddingCacheConfig, device: str) -> None:
        """Load the encoder.

        Raises:
            UserError: if it cannot encode both texts and images.
        """
        if not clip.is_joint:
            raise UserError(
                f"clip={clip.kind}: captions are compared with images, and {clip.display_name} does not encode both. Give "
                "clip=open_clip with clip.features=pooled, or run=FOLDER for a captioner"
            )
        self.encoder: AnyEncoder = load_encoder(clip, device)
        self.name = self.encoder.name
        self._cache = cache

    def score(self, images: Sequence[ImageRef], captions: Sequence[Sequence[str]]) -> list[list[float]]:
        image_matrix, row_of = encode_image_refs(self.encoder, images, self._cache)
        text_matrix, text_rows = encode_texts(self.encoder, [text for group in captions for text in group], self._cache)
        starts = np.cumsum([0, *map(len, captions)])
        scores = []
        for number, image in enumerate(images):
            rows = text_rows[starts[number] : starts[number + 1]]
            (image_vector,) = image_matrix.gather(np.asarray([row_of[image.key]])).astype(np.float64)
            text_vectors = text_matrix.gather(rows).astype(np.float64)
            cosines = text_vectors @ image_vector / np.linalg.norm(text_vectors, axis=1) / np.linalg.norm(image_vector)
            scores.append(cosines.tolist())
        return scores


class LikelihoodScorer:
    """Log-likelihood of a caption given the image, summed over tokens with the end token, by a trained captioner.

    Attributes:
        trained: settings of the run.
        noise: noise that training added, as results.json has it.
    """

    tolerance = 1e-3  # nats; rounding of a sum over tokens, which differs with the batch

    def __init__(
        self,
        run: Path,
        trained: TrainConfig,
        checkpoint: str,
        base_model: str | None,
        cache: EmbeddingCacheConfig,
        batch_size: int,
        device: str,
    ) -> None:
        """Load the run's model and encoder.

        Args:
            run: folder of the run.
            trained: its settings.
            checkpoint: "best" or "last".
            base_model: see `TransferNetwork.from_pretrained`.
            cache: cache of the images' vectors.
            batch_size: images per batch.
            device: torch device.

        Raises:
            UserError: if the run does not write captions, or its encoder cannot be loaded.
        """
        self._task = build_task(trained.task)
        if self._task.reads != CAPTIONS:
            raise UserError(
                f"run={run}: was trained for task={self._task.name}, which does not write captions. Give a run of "
                "task=captioning"
            )
        if not trained.clip.encodes_images:
            raise UserError(
                f"run={run}: was trained on clip={trained.clip.kind}, which cannot encode images. Give a run with another "
                "encoder"
            )
        model, tokenizer = load_model(run, checkpoint, device, base_model)
        self.encoder: AnyEncoder = load_encoder(trained.clip, device)
        check_encoder(self.encoder, model)
        self.name, self.trained = str(run), trained
        self.noise = model.config.noise
        self._decoder = Decoder(model, tokenizer, Decoding(num_beams=1))
        self._lowercase = trained.task.lowercase_targets
        self._cache, self._batch_size = cache, batch_size

    def score(self, images: Sequence[ImageRef], captions: Sequence[Sequence[str]]) -> list[list[float]]:
        texts = [self._normalize(group) for group in captions]

        def score_batch(part: slice, vectors: Float32Array, prompts: list[str]) -> list[list[float]]:
            return self._decoder.score_texts(vectors, prompts, texts[part])

        return list(chain.from_iterable(self._score_batches(images, score_batch)))

    def score_all(self, images: Sequence[ImageRef], texts: Sequence[str]) -> Float32Array:
        """Return the score of every text for every image, shape (images, texts); faster than `score` with the same texts."""
        normalized = self._normalize(texts)

        def score_batch(part: slice, vectors: Float32Array, prompts: list[str]) -> Float32Array:
            return self._decoder.score_every_text(vectors, prompts, normalized).cpu().numpy()

        return np.concatenate(self._score_batches(images, score_batch))

    def _normalize(self, texts: Sequence[str]) -> list[str]:
        return [text.lower() if self._lowercase else text for text in texts]

    def _score_batches(
        self, images: Sequence[ImageRef], score_batch: Callable[[slice, Float32Array, list[str]], T]
    ) -> list[T]:
        """Return the result of a function for the positions, vectors and prompts of each batch of images."""
        matrix, row_of = encode_image_refs(self.encoder, images, self._cache)
        examples = [Example(str(number), (), image) for number, image in enumerate(images)]
        prompts = [example.prompt for example in self._task.prepare_for_testing(examples, "image")]
        results = []
        work = f"scoring the captions of {self._batch_size} images at a time"
        with tqdm(total=len(images), unit="image", desc="scoring") as bar:
            for start in range(0, len(images), self._batch_size):
                part = slice(start, start + self._batch_size)
                rows = np.asarray([row_of[image.key] for image in images[part]])
                with explain_lack_of_memory(work, advise_halving("batch_size", self._batch_size)):
                    results.append(score_batch(part, matrix.gather(rows), prompts[part]))
                bar.update(len(rows))
        return results


def load_likelihood_scorer(
    config: ScoredRun, cache: EmbeddingCacheConfig, batch_size: int, device: str
) -> tuple[LikelihoodScorer, dict[str, Any]]:
    """Return the scorer of the run that the settings name, and the fields of results.json that describe the run.

    Raises:
        UserError: as `find_run`, `read_run` and `LikelihoodScorer`.
    """
    assert config.run is not None
    run = find_run(config.run, config.runs, Captioning.name)
    trained, facts = read_run(run)
    scorer = LikelihoodScorer(run, trained, config.checkpoint, config.base_model, cache, batch_size, device)
    return scorer, {
        "noise": scorer.noise,
        "data_regime": facts["data_regime"],
        "training_input_modality": facts["input_modality"],
        "seed": trained.seed,
        "run": str(run),
        "checkpoint": config.checkpoint,
        "training_data_fingerprint": facts["data_fingerprint"],
        "config": {"train": trained.model_dump(mode="json")},
    }
