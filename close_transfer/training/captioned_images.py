"""Texts and the images that they describe, as trainings of image encoders read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from close_transfer.config.components import TaskConfig
from close_transfer.core.arrays import IntArray
from close_transfer.data.examples import Example, ImageRef
from close_transfer.encoders.pixel_cache import load_pixels
from close_transfer.models.prompt_format import TextFormat
from close_transfer.training.ragged import Ragged


@dataclass(frozen=True)
class CaptionedImages:
    """Texts and the images that they describe.

    Attributes:
        ids: identifiers of the texts.
        texts: token ids of each text, with the end token last; empty if there is no tokenizer.
        image_rows: row of each text's image in `pixels`, shape (texts,).
        pixels: images, shape (images, size, size, 3).
    """

    ids: Sequence[str]
    texts: Ragged
    image_rows: IntArray
    pixels: NDArray[np.uint8]

    def gather_pixels(self, rows: IntArray) -> Tensor:
        """Return the images of these texts, shape (rows, size, size, 3), uint8."""
        return torch.from_numpy(np.ascontiguousarray(self.pixels[self.image_rows[rows]]))


@dataclass(frozen=True)
class TextsOfImages:
    """Texts as token ids, and the images that they describe.

    Attributes:
        ids: identifiers of the texts.
        texts: token ids of each text, with the end token last.
        image_rows: position of each text's image in `images`, shape (texts,).
        images: images, each once.
    """

    ids: Sequence[str]
    texts: Ragged
    image_rows: IntArray
    images: Sequence[ImageRef]


def tokenize_texts_of_images(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase | None, task: TaskConfig
) -> TextsOfImages:
    """Return texts as token ids, one per example and target, with their images.

    Args:
        examples: examples with images, as the task prepares them.
        tokenizer: tokenizer of the texts; None for a training that needs neither the texts nor their lengths.
        task: maximum length and letter case of the texts.
    """
    pairs = [(example, target) for example in examples for target in example.targets]
    images = {example.image.key: example.image for example, _ in pairs if example.image is not None}
    row_of = {key: row for row, key in enumerate(images)}
    targets = [target for _, target in pairs]
    return TextsOfImages(
        [example.id for example, _ in pairs],
        Ragged.from_rows([[]] * len(targets) if tokenizer is None else _encode(targets, tokenizer, task)),
        np.array([row_of[example.image.key] for example, _ in pairs if example.image is not None]),
        list(images.values()),
    )


def _encode(targets: Sequence[str], tokenizer: PreTrainedTokenizerBase, task: TaskConfig) -> list[Sequence[int]]:
    cased = [target.lower() if task.lowercase_targets else target for target in targets]
    encoded = TextFormat(tokenizer, "encoder-decoder").encode_targets(cased, task.max_target_tokens, [""] * len(cased))
    return [ids for ids, _ in encoded]


def load_captioned_images(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase | None,
    task: TaskConfig,
    image_size: int,
    pixel_cache: str,
) -> CaptionedImages:
    """Return texts as token ids, one per example and target, with the pixels of their images.

    Args:
        examples: examples with images, as the task prepares them.
        tokenizer: tokenizer of the texts; None for a training that needs neither the texts nor their lengths.
        task: maximum length and letter case of the texts.
        image_size: pixels per side of a scaled image.
        pixel_cache: folder of the cache of pixels.

    Raises:
        UserError: if an image cannot be read.
        WriteError: if the cache cannot be written.
    """
    texts = tokenize_texts_of_images(examples, tokenizer, task)
    pixels = load_pixels(texts.images, image_size, Path(pixel_cache))
    return CaptionedImages(texts.ids, texts.texts, texts.image_rows, pixels)
