"""Learning a language model from text alone, as an objective of the training loop."""

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
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.training.batches import Ragged, Rows, count_steps_per_epoch
from close_transfer.training.run_folder import TrainingState
from close_transfer.training.span_corruption import Ids, SpanCorruptor

_CORRUPTION, _DROPOUT, _VALIDATION = 1, 2, 3  # streams of random numbers besides that of the order


@dataclass
class PretrainState(TrainingState):
    """State of a pretraining.

    Attributes:
        num_tokens: read and written by the model in training so far, padding not counted.
        identity: fingerprint of the settings and texts, without which nothing is resumed.
    """

    num_tokens: int = 0
    identity: str = ""


@dataclass(frozen=True)
class TextPart:
    """A part of a global batch of texts.

    Attributes:
        inputs: arguments of the model's forward pass.
        num_read, num_written: tokens, padding not counted.
        share: of the global batch's written tokens, over which the loss is a mean.
    """

    inputs: dict[str, Tensor]
    num_read: int
    num_written: int
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.inputs["labels"])


class SpanCorruptionCollator:
    """Batches for a sequence-to-sequence model: corrupted texts to read, targets to write."""

    def __init__(self, corruption: SpanCorruptor, padding: int) -> None:
        self._corruption, self._padding = corruption, padding

    def __call__(self, texts: Sequence[Ids], rng: np.random.Generator) -> list[tuple[Ids, Ids]]:
        """Return what is read and what is written of each text, drawn anew."""
        return [self._corruption(text, rng) for text in texts]

    def collate(self, pairs: Sequence[tuple[Ids, Ids]]) -> TextPart:
        """Return a padded batch."""
        read, written = (Ragged.from_rows([pair[side] for pair in pairs]) for side in (0, 1))
        every = range(len(pairs))
        input_ids, mask = read.pad_with_mask(every, self._padding)
        inputs = {"input_ids": input_ids, "attention_mask": mask, "labels": written.pad(every, IGNORED)}
        return TextPart(inputs, len(read.values), len(written.values))


class NextTokenCollator:
    """Batches for a decoder: whole texts behind an end token, from which the first word follows as from a prompt."""

    def __init__(self, end: int, padding: int) -> None:
        self._end, self._padding = end, padding

    def __call__(self, texts: Sequence[Ids], rng: np.random.Generator) -> list[tuple[Ids, Ids]]:
        """Return each text behind an end token, as what is read and what is written. Nothing is drawn."""
        whole = [np.array([self._end, *text], dtype=np.int32) for text in texts]
        return [(ids, ids) for ids in whole]

    def collate(self, pairs: Sequence[tuple[Ids, Ids]]) -> TextPart:
        """Return a padded batch."""
        whole = Ragged.from_rows([ids for ids, _ in pairs])
        every = range(len(pairs))
        input_ids, mask = whole.pad_with_mask(every, self._padding)
        # The model itself compares labels with the tokens before them, and so skips the first.
        inputs = {"input_ids": input_ids, "attention_mask": mask, "labels": whole.pad(every, IGNORED)}
        return TextPart(inputs, len(pairs), len(whole.values) - len(pairs))


Collator = SpanCorruptionCollator | NextTokenCollator


@dataclass
class PretrainingObjective:
    """Cross-entropy of texts, or of what was dropped from them.

    Attributes:
        texts, validation: token ids of every text, the end token last.
        collator: what becomes of a text.
        config: the settings.
    """

    activity: ClassVar[str] = "pretraining"
    unit: ClassVar[str] = "text"

    texts: Ragged
    validation: Ragged
    collator: Collator
    config: PretrainLmConfig
    _num_tokens_of_step: int = field(default=0, init=False)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one pass over the texts."""
        return count_steps_per_epoch(len(self.texts), self.config.batch_size)

    def count_epochs(self, step: int) -> float:
        """Return how many passes over the texts so many steps are."""
        return round(step / self.steps_per_epoch, 2)

    def lengths(self) -> Rows:
        return self.texts.lengths()

    def seed_dropout(self, step: int, process: int) -> int:
        stream = [self.config.seed, step, _DROPOUT, *([process] if process else [])]
        return int(np.random.SeedSequence(stream).generate_state(1)[0])

    def make_parts(self, step: int, rows: Rows, num_parts: int) -> list[TextPart]:
        rng = np.random.default_rng([self.config.seed, step, _CORRUPTION])
        # Drawn for the global batch at once, so that the draws do not depend on how it is split.
        pairs = self.collator([self.texts[row] for row in rows], rng)
        parts = [
            self.collator.collate([pairs[i] for i in part]) for part in np.array_split(range(len(rows)), num_parts)
        ]
        num_written = sum(part.num_written for part in parts)
        self._num_tokens_of_step = sum(part.num_read for part in parts) + num_written
        return [
            TextPart(part.inputs, part.num_read, part.num_written, part.num_written / num_written) for part in parts
        ]

    def compute_loss(self, model: torch.nn.Module, part: TextPart, step: int, accelerator: Accelerator) -> Tensor:
        return self._compute_mean_loss(model, part, accelerator) * part.share

    def _compute_mean_loss(self, model: torch.nn.Module, part: TextPart, accelerator: Accelerator) -> Tensor:
        """Return the mean over a part's written tokens, in nats."""
        with accelerator.autocast():
            return model(**{name: tensor.to(accelerator.device) for name, tensor in part.inputs.items()}).loss

    def update_state(self, state: TrainingState) -> None:
        assert isinstance(state, PretrainState)
        state.num_tokens += self._num_tokens_of_step

    def is_validation_step(self, step: int, num_steps: int) -> bool:
        return step % self.steps_per_epoch == 0 or step == num_steps

    def validate(self, model: torch.nn.Module, step: int, accelerator: Accelerator) -> float:
        """Return the mean loss per written token, and show it; the corruption is the same every time."""
        total, num_tokens = 0.0, 0
        order = np.argsort(self.validation.lengths(), kind="stable")
        rng = np.random.default_rng([self.config.seed, 0, _VALIDATION])
        for start in range(0, len(order), self.config.batch_size):
            texts = [self.validation[row] for row in order[start : start + self.config.batch_size]]
            part = self.collator.collate(self.collator(texts, rng))
            total += float(self._compute_mean_loss(model, part, accelerator)) * part.num_written
            num_tokens += part.num_written
        loss = total / num_tokens
        if accelerator.is_main_process:
            tqdm.write(
                f"epoch {self.count_epochs(step):g} of {self.config.epochs}: validation loss {loss:.3f}, "
                f"perplexity {math.exp(loss):.2f}"
            )
        return loss

    def suggest_remedy(self, rows: Rows) -> str:
        return "give a lower learning_rate or more warmup_steps"
