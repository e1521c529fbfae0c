"""What the rest of the library asks of a frozen encoder."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]


class Encoder(Protocol):
    """Maps texts and pictures to vectors of one space. Frozen: the same input, the same vector.

    Attributes:
        name: how a user calls it.
        dim: width of the vectors.
        fingerprint: of the weights; two encoders with the same one give the same vectors.
        text_key: of all that decides a text's vector: weights, tokenizer, context length.
        image_key: of all that decides a picture's vector: weights and preprocessing.
    """

    name: str
    dim: int
    fingerprint: str
    text_key: str
    image_key: str

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Vectors as the tower gives them, not normalised; shape (texts, dim)."""

    def encode_images(self, images: Iterable[Image.Image]) -> Floats:
        """Vectors as the tower gives them, not normalised; shape (images, dim). One picture is held at a time."""

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the encoder's context, which sees their beginning only."""
