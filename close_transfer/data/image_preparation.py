"""Images opened and shrunk to what an encoder takes, in any thread or process.

A worker process imports this module, so it imports little.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from close_transfer.core.errors import UserError

ImageOpener = Callable[[], Image.Image]
PreparedImage = NDArray[Any] | UserError  # pixels, or why the image cannot be used


def ensure_rgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB, which those of `image_files` are already."""
    return image if image.mode == "RGB" else image.convert("RGB")


def prepare_image(transform: Callable[[Image.Image], Any], opener: ImageOpener) -> PreparedImage:
    """Return the transformed image as an array, or the error of an image that cannot be used."""
    try:
        return np.asarray(transform(opener()))
    except UserError as error:
        return error


def prepare_images(transform: Callable[[Image.Image], Any], openers: Sequence[ImageOpener]) -> list[PreparedImage]:
    """Return the transformed images, or the error of each that cannot be used."""
    return [prepare_image(transform, opener) for opener in openers]


def prepare_in_worker(transform: Callable[[Image.Image], Any], openers: Sequence[ImageOpener]) -> list[PreparedImage]:
    """Do `prepare_images` in a worker process, which keeps to one core."""
    import torch  # the transform, which came with the call, has loaded it

    torch.set_num_threads(1)
    return prepare_images(transform, openers)
