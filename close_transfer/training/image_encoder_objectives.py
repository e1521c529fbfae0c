"""Objectives without language: naming the classes of an image (supervised), and restoring its masked patches (MAE)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from close_transfer.config.components import LoopConfig
from close_transfer.core.arrays import IntArray
from close_transfer.models.image_classifier import ImageClassifier
from close_transfer.models.masked_autoencoder import (
    MaskedAutoencoder,
    cut_into_patches,
    normalize_patches,
    select_patches,
)
from close_transfer.training.batch_order import split_batch
from close_transfer.training.captioned_images import CaptionedImages
from close_transfer.training.image_objective import ImageObjective
from close_transfer.training.parts import move_part

_MASKS, _VALIDATION_MASKS = 2, 3  # random streams, separate from that of the order


class _WithoutText(ImageObjective):
    """Base class of objectives that read no text: batches as a captioner's, validation on each image once."""

    unit: ClassVar[str] = "image"

    validation: CaptionedImages

    def compute_lengths(self) -> IntArray:
        # Those of the texts, which are not read, so that the batches are those of a captioner.
        return self.examples.texts.compute_lengths()

    def _iterate_validation_rows(self) -> Iterator[IntArray]:
        """Yield rows of the validation, one text for each image."""
        _, first_rows = np.unique(self.validation.image_rows, return_index=True)
        return (first_rows[positions] for positions in self.divide_validation_rows(len(first_rows)))


@dataclass(frozen=True)
class LabelledPart:
    """Part of a global batch of images with their classes.

    Attributes:
        pixels: images, shape (rows, size, size, 3), uint8.
        labels: 1 for each class in the image, shape (rows, classes), float32; or its only class, shape (rows,), int64.
        weights: weight of each image's loss, which is averaged over the global batch; shape (rows,), float32.
    """

    pixels: Tensor
    labels: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class ClassificationObjective(_WithoutText):
    """Cross-entropy of an image's class, or binary cross-entropy of all classes if an image may have several.

    Attributes:
        examples, validation: texts with images, of which only the images and the texts' lengths are used.
        labels, validation_labels: classes of the image of each text: shape (texts, classes), bool; or (texts,), int64.
        config: settings of the loop.
        seed: seed of all random draws.
    """

    examples: CaptionedImages
    validation: CaptionedImages
    labels: NDArray[np.bool_] | IntArray
    validation_labels: NDArray[np.bool_] | IntArray
    config: LoopConfig
    seed: int

    def make_parts(self, step: int, rows: IntArray, num_parts: int, multiple: int) -> list[LabelledPart]:
        return [
            LabelledPart(
                self.examples.gather_pixels(rows[positions]),
                _as_tensor(self.labels[rows[positions]]),
                torch.full((len(positions),), weight / len(rows)),
            )
            for positions, weight in split_batch(len(rows), num_parts)
        ]

    def compute_loss(
        self, model: torch.nn.Module, part: LabelledPart, noise: torch.Generator, accelerator: Accelerator
    ) -> Tensor:
        with accelerator.autocast():
            logits = model(pixels=part.pixels)
        return (self._compute_losses(logits, part.labels, self.config.label_smoothing) * part.weights).sum()

    @staticmethod
    def _compute_losses(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the loss of each image, in nats; of several classes the mean over all classes."""
        if labels.ndim == 1:
            return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)
        return F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none").mean(dim=1)

    def validate(self, model: ImageClassifier, step: int, accelerator: Accelerator) -> float:
        total, num_images = 0.0, 0
        for rows in self._iterate_validation_rows():
            labels = _as_tensor(self.validation_labels[rows])
            part = LabelledPart(self.validation.gather_pixels(rows), labels, torch.ones(len(rows)))
            part = move_part(part, accelerator.device)
            with accelerator.autocast():
                logits = model(pixels=part.pixels)
            total += float(self._compute_losses(logits, part.labels).sum())
            num_images += len(rows)
        return total / num_images


def _as_tensor(labels: NDArray[np.bool_] | IntArray) -> Tensor:
    return torch.from_numpy(labels.astype(np.float32 if labels.ndim == 2 else np.int64))


@dataclass(frozen=True)
class MaskedPart:
    """Part of a global batch of images whose patches are masked.

    Attributes:
        pixels: images, shape (rows, size, size, 3), uint8.
        order: numbers of each image's patches, the visible ones first, shape (rows, patches), int64.
        weights: weight of each image's loss, which is averaged over the global batch; shape (rows,), float32.
    """

    pixels: Tensor
    order: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.order)


@dataclass
class MaskedPatchesObjective(_WithoutText):
    """Mean squared error of the normalised pixels of hidden patches (MAE, arXiv 2111.06377).

    Attributes:
        examples, validation: texts with images, of which only the images and the texts' lengths are used.
        patch_size: pixels per side of a patch.
        num_visible: number of patches of an image that the encoder sees.
        config: settings of the loop.
        seed: seed of all random draws.
    """

    examples: CaptionedImages
    validation: CaptionedImages
    patch_size: int
    num_visible: int
    config: LoopConfig
    seed: int

    def make_parts(self, step: int, rows: IntArray, num_parts: int, multiple: int) -> list[MaskedPart]:
        # Drawn for the whole global batch at once, so that the draws do not depend on the number of parts.
        order = self._draw_order(len(rows), step, _MASKS)
        return [
            MaskedPart(
                self.examples.gather_pixels(rows[positions]),
                torch.from_numpy(order[positions]),
                torch.full((len(positions),), weight / len(rows)),
            )
            for positions, weight in split_batch(len(rows), num_parts)
        ]

    def _draw_order(self, num_images: int, step: int, stream: int) -> IntArray:
        """Return a random order of the patches for each image."""
        num_patches = (self.examples.pixels.shape[1] // self.patch_size) ** 2
        drawn = np.random.default_rng([self.seed, step, stream]).random((num_images, num_patches))
        return drawn.argsort(axis=1)

    def compute_loss(
        self, model: torch.nn.Module, part: MaskedPart, noise: torch.Generator, accelerator: Accelerator
    ) -> Tensor:
        return (self._compute_losses(model, part, accelerator) * part.weights).sum()

    def _compute_losses(self, model: torch.nn.Module, part: MaskedPart, accelerator: Accelerator) -> Tensor:
        """Return the loss of each image, the mean over its hidden patches."""
        with accelerator.autocast():
            predicted = model(pixels=part.pixels, order=part.order)
        patches = cut_into_patches(part.pixels, self.patch_size)
        targets = normalize_patches(select_patches(patches, part.order[:, self.num_visible :]))
        return (predicted.float() - targets).square().mean(dim=(1, 2))

    def validate(self, model: MaskedAutoencoder, step: int, accelerator: Accelerator) -> float:
        total, num_images = 0.0, 0
        # The same masks in every validation, and for any number of parts.
        order = self._draw_order(len(self.validation.pixels), 0, _VALIDATION_MASKS)
        for rows in self._iterate_validation_rows():
            drawn = torch.from_numpy(order[self.validation.image_rows[rows]])
            part = MaskedPart(self.validation.gather_pixels(rows), drawn, torch.ones(len(rows)))
            part = move_part(part, accelerator.device)
            total += float(self._compute_losses(model, part, accelerator).sum())
            num_images += len(rows)
        return total / num_images
