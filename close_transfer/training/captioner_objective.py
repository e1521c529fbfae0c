"""Captioning objective: writing the text of an image, token after token or all at once (Cap, CapPa, arXiv 2306.07915)."""

from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from close_transfer.config.components import LoopConfig
from close_transfer.core.arrays import IntArray
from close_transfer.models.captioner import Captioner
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.training.batch_order import split_batch
from close_transfer.training.captioned_images import CaptionedImages
from close_transfer.training.image_objective import ImageObjective
from close_transfer.training.parts import move_part
from close_transfer.training.train_step import sum_loss, sum_losses

_PARALLEL = 1  # random stream of the masks, separate from that of the order


@dataclass(frozen=True)
class CaptionPart:
    """Part of a global batch of texts with their images.

    Attributes:
        pixels: images, shape (rows, size, size, 3), uint8.
        labels: tokens to write, `IGNORED` for padding, shape (rows, length).
        is_parallel: True for texts whose tokens are all predicted at once, shape (rows,).
        weights: weight of each text's summed loss: the loss is the mean over each text's tokens, then over the texts of
            the global batch. 0 for a part that `split_batch` filled. Shape (rows,), float32.
    """

    pixels: Tensor
    labels: Tensor
    is_parallel: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class CaptionerObjective(ImageObjective):
    """Cross-entropy of texts, given their images: in training a mean of the texts' means, in validation over tokens.

    Attributes:
        examples: training texts with their images.
        validation: texts whose loss is measured, always token after token.
        parallel_share: probability that all tokens of a text are predicted at once. 0 is Cap, 0.75 CapPa.
        num_positions: number of the decoder's positions.
        config: settings of the loop.
        seed: seed of all random draws.
    """

    examples: CaptionedImages
    validation: CaptionedImages
    parallel_share: float
    num_positions: int
    config: LoopConfig
    seed: int
    _lengths: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self._lengths = self.examples.texts.compute_lengths()

    def compute_lengths(self) -> IntArray:
        return self._lengths

    def make_parts(self, step: int, rows: IntArray, num_parts: int, multiple: int) -> list[CaptionPart]:
        # Drawn for the whole global batch at once, so that the draws do not depend on the number of parts.
        drawn = np.random.default_rng([self.seed, step, _PARALLEL]).random(len(rows)) < self.parallel_share
        # Masks are attended to, so the number of places must not show how long the texts are.
        length = self.num_positions if self.parallel_share else multiple
        return [
            CaptionPart(
                self.examples.gather_pixels(rows[positions]),
                # A multiple for CUDA graphs may be more than the decoder has.
                self.examples.texts.pad(rows[positions], IGNORED, length)[:, : self.num_positions],
                torch.from_numpy(drawn[positions]),
                torch.from_numpy(weight / (len(rows) * self._lengths[rows[positions]])).float(),
            )
            for positions, weight in split_batch(len(rows), num_parts)
        ]

    def compute_loss(
        self, model: torch.nn.Module, part: CaptionPart, noise: torch.Generator, accelerator: Accelerator
    ) -> Tensor:
        with accelerator.autocast():
            logits = model(pixels=part.pixels, labels=part.labels, is_parallel=part.is_parallel)
        return (sum_losses(logits, part.labels, self.config.label_smoothing) * part.weights).sum()

    def validate(self, model: Captioner, step: int, accelerator: Accelerator) -> float:
        total, num_tokens = 0.0, 0
        for part_rows in self.divide_validation_rows(len(self.validation.texts)):
            labels = self.validation.texts.pad(part_rows, IGNORED)
            is_parallel = torch.zeros(len(labels), dtype=torch.bool)
            part = CaptionPart(self.validation.gather_pixels(part_rows), labels, is_parallel, torch.ones(len(labels)))
            part = move_part(part, accelerator.device)
            with accelerator.autocast():
                logits = model(pixels=part.pixels, labels=part.labels)
            total += float(sum_loss(logits, part.labels))
            num_tokens += int((labels != IGNORED).sum())
        return total / num_tokens
