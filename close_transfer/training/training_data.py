"""Training data of one run: loaded, prepared by the task, encoded, tokenized."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from typing import Any

from transformers import PreTrainedTokenizerBase

from close_transfer.config.captioned_images import CaptionedImagesConfig
from close_transfer.config.choices import InputModality
from close_transfer.config.components import EmbeddingCacheConfig, TaskConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.digests import compute_digest, is_first_equal, pack_digests
from close_transfer.data.decontamination import exclude_overlap
from close_transfer.data.example_sequences import SceneTexts
from close_transfer.data.examples import Example, fingerprint_examples
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.embeddings import SceneVectors, encode_image_scenes, encode_text_scenes
from close_transfer.models.network import TransferNetwork
from close_transfer.models.prompt_format import Format, TextFormat
from close_transfer.tasks import PreparedExamples, build_task
from close_transfer.tasks.loading import load_task_examples
from close_transfer.training.batches import TokenizedExamples

_AT_ONCE = 65_536  # texts whose length the encoder's tokenizer counts at a time; bounds the memory


@dataclass(frozen=True)
class TrainingData:
    """Examples for training and validation.

    Attributes:
        input_modality: modality of the model's inputs: vectors of texts, or of images.
        scenes: training scenes as they were loaded.
        training, validation: examples as the task prepares them.
        skipped: number of skipped examples, by reason.
        notes: sentences about the data, for the user.
    """

    input_modality: InputModality
    scenes: Sequence[Example]
    training: PreparedExamples
    validation: PreparedExamples
    skipped: Counter[str]
    notes: tuple[str, ...]

    @property
    def tokenizer_texts(self) -> Iterator[str]:
        """Return every prompt and target of training, which a new tokenizer is trained on."""
        return (text for example in self.training.examples for text in (example.prompt, *example.targets) if text)

    def encode(self, encoder: AnyEncoder, cache: EmbeddingCacheConfig) -> tuple[SceneVectors, SceneVectors]:
        """Return the scene vectors for training and for validation.

        Raises:
            UserError: if an image cannot be read.
            WriteError: if the cache cannot be written.
        """
        encode = encode_text_scenes if self.input_modality == "text" else encode_image_scenes
        training, validation = (
            encode(encoder, prepared.examples, cache) for prepared in (self.training, self.validation)
        )
        return training, validation

    def tokenize(
        self, task: TaskConfig, tokenizer: PreTrainedTokenizerBase, kind: Format, scenes: Sequence[SceneVectors]
    ) -> tuple[TokenizedExamples, TokenizedExamples]:
        """Return the tokenized examples for training and for validation, with their scene vectors.

        Args:
            task: maximum lengths and letter case of prompts and targets.
            tokenizer: tokenizer of the language model.
            kind: format in which the language model reads prompts.
            scenes: scene vectors that `encode` returned.
        """
        text_format = TextFormat(tokenizer, kind)
        training, validation = (
            TokenizedExamples(
                prepared.examples,
                vectors,
                text_format,
                task.max_prompt_tokens,
                task.max_target_tokens,
                task.lowercase_targets,
            )
            for prepared, vectors in zip((self.training, self.validation), scenes, strict=True)
        )
        return training, validation

    def count_cut_texts(self, encoder: AnyEncoder) -> tuple[int, int]:
        """Return how many distinct texts are longer than the encoder's context, and how many there are.

        Both are 0 when training on images.
        """
        if self.input_modality == "image":
            return 0, 0
        texts = SceneTexts(self.training.examples)
        is_first = is_first_equal(pack_digests(map(compute_digest, texts)))
        distinct = compress(texts, is_first)
        parts = iter(lambda: list(islice(distinct, _AT_ONCE)), [])
        return sum(map(encoder.count_cut, parts)), int(is_first.sum())


def load_training_data(config: TrainConfig | CaptionedImagesConfig, input_modality: InputModality) -> TrainingData:
    """Load the training and validation splits, without the texts that `exclude_overlap_with` excludes.

    Raises:
        UserError: if the data do not suit the task, or cannot be read.
    """
    task = build_task(config.task)
    # Precomputed vectors replace the images, so the image files need not exist.
    opens_images = input_modality == "image" and config.encodes_images
    train, val = (
        load_task_examples(
            task.name, config.data, split, texts_needed=input_modality == "text", images_needed=opens_images
        )
        for split in ("train", "val")
    )
    examples, num_overlapping = exclude_overlap(config, task.reads, train.examples)
    training, validation = task.prepare_for_training(examples), task.prepare_for_validation(val.examples)
    skipped = Counter(train.skipped)
    skipped.update(num_overlapping)
    notes = [*train.notes, *training.notes, *validation.notes]
    notes += [f"{count:,} {reason} skipped" for reason, count in skipped.items()]
    return TrainingData(input_modality, examples, training, validation, skipped, tuple(notes))


def collect_facts(
    data: TrainingData, encoder: AnyEncoder, network: TransferNetwork, validation_input: str
) -> dict[str, Any]:
    """Return facts about the training for the results: the content of facts.json.

    Args:
        data: training data.
        encoder: encoder of the vectors.
        network: network, for its data regime and size.
        validation_input: description of the validation inputs.
    """
    return {
        "data_regime": network.config.data_regime,
        "input_modality": data.input_modality,
        "validation_input": validation_input,
        "num_examples": len(data.training.examples),
        "num_trained_parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "num_skipped": data.skipped.total(),
        "skipped": dict(data.skipped),
        "data_fingerprint": fingerprint_examples(data.training.examples),
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
    }
