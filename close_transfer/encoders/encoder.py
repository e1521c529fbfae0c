"""What the rest of the library asks of a frozen encoder, and what encoders share."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from close_transfer.core.arrays import Float32Array
from close_transfer.core.errors import UserError


class Encoder(Protocol):
    """Maps texts and images to vectors of one space. Frozen: the same input, the same vector.

    Attributes:
        name: how a user calls it.
        dim: width of the vectors.
        fingerprint: of the weights; two encoders with the same one give the same vectors.
        text_key: of all that decides a text's vector: weights, tokenizer, context length.
        image_key: of all that decides an image's vector: weights and preprocessing.
    """

    name: str
    dim: int
    fingerprint: str
    text_key: str
    image_key: str

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Vectors as the tower gives them, not normalised; shape (texts, dim).

        Raises:
            UserError: if the encoder reads no text.
        """

    def encode_images(self, images: Iterable[Image.Image]) -> Float32Array:
        """Vectors as the tower gives them, not normalised; shape (images, dim), or (images, k, dim) where it gives a
        grid. One image of full size is held at a time."""

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the encoder's context, which sees their beginning only."""


def encode_in_batches(
    images: Iterable[Image.Image],
    preprocess: Callable[[Image.Image], Tensor],
    encode: Callable[[Tensor], Tensor],
    batch_size: int,
) -> Float32Array:
    """Raw vectors of images in float32; shape (images, [k,] dim).

    Args:
        images: taken one at a time.
        preprocess: makes an image (channels, height, width).
        encode: gives vectors of (images, channels, height, width).
        batch_size: images encoded together.
    """
    prepared = map(preprocess, images)
    encoded = [to_float32(encode(torch.stack(batch))) for batch in iter(lambda: list(islice(prepared, batch_size)), [])]
    return np.concatenate(encoded) if encoded else np.empty((0, 0), dtype=np.float32)


def flatten_grid(grid: Float[Tensor, "b d h w"]) -> Float[Tensor, "b k d"]:
    """The vectors of a grid one after the other, row by row."""
    return grid.flatten(2).transpose(1, 2)


def to_float32(vectors: Tensor) -> Float32Array:
    """The same numbers for numpy, in float32."""
    return vectors.float().cpu().numpy().astype(np.float32, copy=False)


def build_no_text_tower_error(name: str) -> UserError:
    """What is said where text is given to an encoder of images."""
    return UserError(
        f"{name} encodes images only, so nothing can be trained on text; use scripts/train_on_images.py, or an encoder "
        "with a text tower (clip=open_clip, clip.features=pooled)"
    )
