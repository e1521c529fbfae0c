"""Interface of frozen encoders, and the functions that they share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from close_transfer.core.arrays import Float32Array
from close_transfer.core.errors import UserError
from close_transfer.encoders.background import fetch_late


class Encoder(Protocol):
    """Map from texts and images to vectors of one space. It is frozen: the same input gives the same vector.

    Attributes:
        name: name for users.
        dim: width of the vectors.
        fingerprint: fingerprint of the weights.
        text_key: fingerprint of everything that determines a text's vector: weights, tokenizer, context length.
        image_key: fingerprint of everything that determines an image's vector: weights and preprocessing.
    """

    name: str
    dim: int
    fingerprint: str
    text_key: str
    image_key: str

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Return the raw output of the text tower, not normalised; shape (texts, dim).

        Raises:
            UserError: if the encoder has no text tower.
        """

    def encode_text_groups(self, groups: Iterable[Sequence[str]]) -> Iterator[Float32Array]:
        """Yield the raw vectors of each group of texts; an encoder may prepare the next groups meanwhile.

        Raises:
            UserError: if the encoder has no text tower.
        """

    def encode_images(self, images: Iterable[Image.Image]) -> Float32Array:
        """Return the raw output of the image tower, not normalised; shape (images, dim), or (images, k, dim) of a grid.

        One image of full size is held in memory at a time.
        """

    def count_cut(self, texts: Sequence[str]) -> int:
        """Return the number of texts that are longer than the encoder's context, which cuts them."""


def encode_in_batches(
    images: Iterable[Image.Image],
    preprocess: Callable[[Image.Image], Tensor],
    encode: Callable[[Tensor], Tensor],
    batch_size: int,
) -> Float32Array:
    """Encode images in batches; return raw float32 vectors, shape (images, [k,] dim).

    Args:
        images: images, read one at a time.
        preprocess: turns an image into a tensor (channels, height, width).
        encode: turns a batch (images, channels, height, width) into vectors.
        batch_size: images per batch.
    """
    prepared = map(preprocess, images)
    batches = iter(lambda: list(islice(prepared, batch_size)), [])
    encoded = list(fetch_late(encode(torch.stack(batch)) for batch in batches))
    return np.concatenate(encoded) if encoded else np.empty((0, 0), dtype=np.float32)


def flatten_grid(grid: Float[Tensor, "b d h w"]) -> Float[Tensor, "b k d"]:
    """Flatten a grid of vectors into a sequence, row by row."""
    return grid.flatten(2).transpose(1, 2)


def build_no_text_tower_error(name: str) -> UserError:
    """Return the error for text that is given to an encoder without a text tower."""
    return UserError(
        f"{name} encodes images only, so nothing can be trained on text. Use scripts/train_on_images.py, or an encoder "
        "with a text tower (clip=open_clip, clip.features=pooled)"
    )
