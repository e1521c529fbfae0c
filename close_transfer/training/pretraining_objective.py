"""Pretraining objective: learning a language model from text alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from close_transfer.config.pretrain_lm import PretrainLmConfig
from close_transfer.core.arrays import IntArray
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.training.batch_order import count_steps_per_epoch, split_batch
from close_transfer.training.pretraining_folder import PretrainingState
from close_transfer.training.ragged import Ragged
from close_transfer.training.run_folder import TrainingState
from close_transfer.training.span_corruption import SpanCorruptor, TokenIds

_CORRUPTION, _DROPOUT, _VALIDATION = 1, 2, 3  # random streams, separate from that of the order


@dataclass
class PretrainState(PretrainingState):
    """State of a pretraining.

    Attributes:
        num_tokens: number of tokens that the model read and wrote in training so far, without padding.
    """

    num_tokens: int = 0


@dataclass(frozen=True)
class CollatedTexts:
    """Padded texts.

    Attributes:
        inputs: arguments of the model's forward pass.
        num_read, num_written: number of tokens that the model reads and writes, without padding.
    """

    inputs: dict[str, Tensor]
    num_read: int
    num_written: int


@dataclass(frozen=True)
class TextPart:
    """Part of a global batch of texts.

    Attributes:
        inputs: arguments of the model's forward pass.
        share: share of the global batch's written tokens, which weights the part's mean loss; 0 for a part that
            `split_batch` filled. Shape (), float32.
    """

    inputs: dict[str, Tensor]
    share: Tensor

    def __len__(self) -> int:
        return len(self.inputs["labels"])


class SpanCorruptionCollator:
    """Collator for an encoder-decoder: corrupted texts to read, targets to write."""

    def __init__(self, corruption: SpanCorruptor, padding: int) -> None:
        self._corruption, self._padding = corruption, padding

    def __call__(self, texts: Sequence[TokenIds], rng: np.random.Generator) -> list[tuple[TokenIds, TokenIds]]:
        """Return the input and target ids of each text, with newly drawn spans."""
        return [self._corruption(text, rng) for text in texts]

    def collate(self, pairs: Sequence[tuple[TokenIds, TokenIds]], multiple: int = 1) -> CollatedTexts:
        """Return the texts padded to a multiple of `multiple` tokens."""
        read, written = (Ragged.from_rows([pair[side] for pair in pairs]) for side in (0, 1))
        every = range(len(pairs))
        input_ids, mask = read.pad_with_mask(every, self._padding, multiple)
        inputs = {"input_ids": input_ids, "attention_mask": mask, "labels": written.pad(every, IGNORED, multiple)}
        return CollatedTexts(inputs, len(read.values), len(written.values))


class NextTokenCollator:
    """Collator for a decoder: each text after an end token, so that its first word is predicted too."""

    def __init__(self, end: int, padding: int) -> None:
        self._end, self._padding = end, padding

    def __call__(self, texts: Sequence[TokenIds], rng: np.random.Generator) -> list[tuple[TokenIds, TokenIds]]:
        """Return each text after an end token, as input and as target; nothing is drawn."""
        whole = [np.array([self._end, *text], dtype=np.int32) for text in texts]
        return [(ids, ids) for ids in whole]

    def collate(self, pairs: Sequence[tuple[TokenIds, TokenIds]], multiple: int = 1) -> CollatedTexts:
        """Return the texts padded to a multiple of `multiple` tokens."""
        whole = Ragged.from_rows([ids for ids, _ in pairs])
        every = range(len(pairs))
        input_ids, mask = whole.pad_with_mask(every, self._padding)
        # The model itself shifts the labels by one token, so the first token is not counted.
        inputs = {"input_ids": input_ids, "attention_mask": mask, "labels": whole.pad(every, IGNORED)}
        return CollatedTexts(inputs, len(pairs), len(whole.values) - len(pairs))


Collator = SpanCorruptionCollator | NextTokenCollator


@dataclass
class PretrainingObjective:
    """Cross-entropy of texts, or of the spans that were dropped from them.

    Attributes:
        texts, validation: token ids of every text, with the end token last.
        collator: collator that makes inputs and targets from texts.
        config: settings of the pretraining.
    """

    activity: ClassVar[str] = "pretraining"
    unit: ClassVar[str] = "text"
    splits_batches: ClassVar[bool] = True

    texts: Ragged
    validation: Ragged
    collator: Collator
    config: PretrainLmConfig
    _num_tokens_of_step: int = field(default=0, init=False)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of optimiser steps in one pass over the texts."""
        return count_steps_per_epoch(len(self.texts), self.config.batch_size)

    def count_epochs(self, step: int) -> float:
        """Return how many passes over the texts `step` steps are, rounded to two decimals."""
        return round(step / self.steps_per_epoch, 2)

    def compute_lengths(self) -> IntArray:
        return self.texts.compute_lengths()

    def seed_dropout(self, step: int, process: int) -> int:
        stream = [self.config.seed, step, _DROPOUT, *([process] if process else [])]
        return int(np.random.SeedSequence(stream).generate_state(1)[0])

    def seed_noise(self, step: int) -> int:
        return 0  # nothing is drawn on the device

    def make_parts(self, step: int, rows: IntArray, num_parts: int, multiple: int) -> list[TextPart]:
        rng = np.random.default_rng([self.config.seed, step, _CORRUPTION])
        # Drawn for the whole global batch at once, so that the draws do not depend on the number of parts.
        pairs = self.collator([self.texts[row] for row in rows], rng)
        parts = [
            (self.collator.collate([pairs[i] for i in positions], multiple), weight)
            for positions, weight in split_batch(len(rows), num_parts)
        ]
        num_written = sum(part.num_written for part, weight in parts if weight)
        self._num_tokens_of_step = sum(part.num_read for part, weight in parts if weight) + num_written
        return [TextPart(part.inputs, torch.tensor(part.num_written / num_written * weight)) for part, weight in parts]

    def compute_loss(
        self, model: torch.nn.Module, part: TextPart, noise: torch.Generator, accelerator: Accelerator
    ) -> Tensor:
        return self._compute_mean_loss(model, part.inputs, accelerator) * part.share

    def _compute_mean_loss(self, model: torch.nn.Module, inputs: dict[str, Tensor], accelerator: Accelerator) -> Tensor:
        """Return the mean loss over a part's written tokens, in nats."""
        with accelerator.autocast():
            return model(**inputs).loss

    def update_state(self, state: TrainingState) -> None:
        assert isinstance(state, PretrainState)
        state.num_tokens += self._num_tokens_of_step

    def is_validation_step(self, step: int, num_steps: int) -> bool:
        return step % self.steps_per_epoch == 0 or step == num_steps

    def validate(self, model: torch.nn.Module, step: int, accelerator: Accelerator) -> float:
        """Return the mean loss per written token, and print it; the spans are the same at every validation."""
        total, num_tokens = 0.0, 0
        order = np.argsort(self.validation.compute_lengths(), kind="stable")
        rng = np.random.default_rng([self.config.seed, 0, _VALIDATION])
        for start in range(0, len(order), self.config.batch_size):
            texts = [self.validation[row] for row in order[start : start + self.config.batch_size]]
            part = self.collator.collate(self.collator(texts, rng))
            inputs = {name: tensor.to(accelerator.device) for name, tensor in part.inputs.items()}
            total += float(self._compute_mean_loss(model, inputs, accelerator)) * part.num_written
            num_tokens += part.num_written
        loss = total / num_tokens
        if accelerator.is_main_process:
            tqdm.write(
                f"epoch {self.count_epochs(step):g} of {self.config.epochs}: validation loss {loss:.3f}, "
                f"perplexity {math.exp(loss):.2f}"
            )
        return loss

    def suggest_remedy(self, rows: IntArray) -> str:
        return "Give a lower learning_rate or more warmup_steps"
