"""Interface of frozen encoders, and the functions that they share."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from close_transfer.core.arrays import Float32Array
from close_transfer.core.errors import UserError
from close_transfer.data.image_preparation import ImageOpener
from close_transfer.encoders.image_reading import NumWorkers


class ImageGroup(NamedTuple):
    """Raw vectors of a group's images that could be read, in order, and the errors of the others by position."""

    vectors: Float32Array
    unreadable: dict[int, UserError]


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
        """Return the raw output of the image tower, not normalised; shape (images, dim), or (images, k, dim) of a grid."""

    def encode_image_groups(
        self,
        groups: Iterable[Sequence[ImageOpener]],
        num_workers: NumWorkers = 0,
        num_images: int | None = None,
        skip_unreadable: bool = False,
    ) -> Iterator[ImageGroup]:
        """Yield the raw vectors of each group of images; an encoder may read the next groups meanwhile.

        Args:
            groups: functions that open each image; with processes they are pickled.
            num_workers: processes that open and preprocess images; 0 for threads of this one. An encoder may have none.
            num_images: number of all images, if it is known; only then "auto" may choose processes.
            skip_unreadable: True to return the errors of images that cannot be used, with their positions in the group;
                False to raise the first.

        Raises:
            UserError: of the first image that cannot be used, in order.
        """

    def count_cut(self, texts: Sequence[str]) -> int:
        """Return the number of texts that are longer than the encoder's context, which cuts them."""


def flatten_grid(grid: Float[Tensor, "b d h w"]) -> Float[Tensor, "b k d"]:
    """Flatten a grid of vectors into a sequence, row by row."""
    return grid.flatten(2).transpose(1, 2)


def build_no_text_tower_error(name: str) -> UserError:
    """Return the error for text that is given to an encoder without a text tower."""
    return UserError(
        f"{name} encodes images only, so nothing can be trained on text. Use scripts/train_on_images.py, or an encoder "
        "with a text tower (clip=open_clip, clip.features=pooled)"
    )
