"""Transfer objective: learning to write text from vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor

from close_transfer.config.choices import InputModality
from close_transfer.config.components import LoopConfig
from close_transfer.core.arrays import IntArray
from close_transfer.models.network import TransferNetwork
from close_transfer.training.batches import Batch, TokenizedExamples
from close_transfer.training.parts import move_part
from close_transfer.training.run_folder import TrainingState
from close_transfer.training.train_step import compute_seed, make_generator, sum_loss

_MOST_IDS = 8  # of examples that a message names


def sample_validation_rows(num_examples: int, max_examples: int, seed: int) -> IntArray:
    """Return the rows of the validation examples that are used: all, or `max_examples` drawn by the seed.

    They are drawn because the first rows of a sorted file would cover few scenes.
    """
    drawn = torch.randperm(num_examples, generator=make_generator(seed, "validation examples"))[:max_examples]
    return drawn.sort().values.numpy()


def is_evenly_spread(step: int, num_steps: int, number: int) -> bool:
    """Return True if one of `number` validations, evenly spread over a training, follows after this many steps."""
    every = max(1, num_steps // number)
    return step == num_steps or (step % every == 0 and num_steps - step >= every)


def list_first_ids(rows: IntArray, get_id: Callable[[int], str]) -> str:
    """Return the ids of a step's first examples, for a message."""
    return ", ".join([*map(get_id, rows[:_MOST_IDS].tolist()), *(["..."] if len(rows) > _MOST_IDS else [])])


def compute_transfer_loss(
    model: torch.nn.Module,
    part: Batch,
    accelerator: Accelerator,
    noise: torch.Generator,
    input_modality: InputModality,
    label_smoothing: float,
) -> Tensor:
    """Return a part's share of the global batch's loss per target token.

    Args:
        model: network as the accelerator wrapped it, in training mode.
        part: part of the global batch.
        accelerator: device and precision.
        noise: source of the noise, in the same state for every part: a part skips to its place in the global batch.
        input_modality: modality of the inputs that the vectors were made from.
        label_smoothing: as in `sum_loss`.
    """
    with accelerator.autocast():
        logits = model(**part.make_inputs(input_modality, noise))
    return sum_part_loss(logits, part, label_smoothing) / part.num_target_tokens * part.weight


def sum_part_loss(logits: Tensor | list[Tensor], part: Batch, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy summed over a part's target tokens, in nats.

    Args:
        logits: logits of all targets, or of each of the part's blocks.
        part: part of a batch.
        smoothing: as in `sum_loss`.
    """
    if isinstance(logits, Tensor):
        return sum_loss(logits, part.labels, smoothing)
    losses = [
        sum_loss(each, part.labels[start:end, :length], smoothing)
        for each, (start, end, length) in zip(logits, part.blocks, strict=True)
    ]
    return torch.stack(losses).sum()


@dataclass
class TransferObjective:
    """Cross-entropy of targets, given vectors and prompts.

    Attributes:
        examples: training examples.
        validation: examples whose loss selects the best checkpoint.
        input_modality: modality of the inputs that the vectors were made from. Texts stand in for images, so
            validation texts get the training noise too. Validation images get none.
        config: settings of the loop.
        seed: seed of all random draws.
    """

    activity: ClassVar[str] = "training"
    unit: ClassVar[str] = "example"
    splits_batches: ClassVar[bool] = True

    examples: TokenizedExamples
    validation: TokenizedExamples
    input_modality: InputModality
    config: LoopConfig
    seed: int

    def compute_lengths(self) -> IntArray:
        return self.examples.compute_lengths()

    def seed_dropout(self, step: int, process: int) -> int:
        return compute_seed(self.seed, "dropout", step, process)

    def seed_noise(self, step: int) -> int:
        return compute_seed(self.seed, "noise", step)

    def make_parts(self, step: int, rows: IntArray, num_parts: int, multiple: int) -> list[Batch]:
        return self.examples.make_parts(rows, num_parts, multiple)

    def compute_loss(
        self, model: torch.nn.Module, part: Batch, noise: torch.Generator, accelerator: Accelerator
    ) -> Tensor:
        return compute_transfer_loss(model, part, accelerator, noise, self.input_modality, self.config.label_smoothing)

    def update_state(self, state: TrainingState) -> None:
        pass

    def is_validation_step(self, step: int, num_steps: int) -> bool:
        return is_evenly_spread(step, num_steps, self.config.num_validations)

    def validate(self, model: TransferNetwork, step: int, accelerator: Accelerator) -> float:
        model.adapter.train(self.input_modality == "text")
        total, num_tokens = 0.0, 0
        rows = sample_validation_rows(len(self.validation), self.config.max_val_examples, self.seed)
        for number, start in enumerate(range(0, len(rows), self.config.batch_size)):
            batch = rows[start : start + self.config.batch_size]
            # As large as those of training.
            parts = self.validation.make_parts(batch, self.config.gradient_accumulation)
            for part in parts:
                noise = make_generator(self.seed, "validation", number, device=accelerator.device)
                placed = move_part(part, accelerator.device)
                with accelerator.autocast():
                    logits = model(**placed.make_inputs(self.input_modality, noise))
                    loss = sum_part_loss(logits, placed)
                total += float(loss * part.weight)
            num_tokens += int(parts[0].num_target_tokens)
        return total / num_tokens

    def suggest_remedy(self, rows: IntArray) -> str:
        examples = list_first_ids(rows, self.examples.get_id)
        return f"Lower train.learning_rate, set train.clip_grad_norm, or check the examples of this step: {examples}"
