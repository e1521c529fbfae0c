"""Errors about a GPU whose memory is too small, with a setting that needs less."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from close_transfer.core.errors import UserError


@contextmanager
def explain_lack_of_memory(work: str, advice: str) -> Iterator[None]:
    """Report that a GPU's memory is too small as a `UserError`.

    Args:
        work: work that did not fit, such as "encoding 64 images at a time".
        advice: sentence that names the setting to change.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "the GPU"
        raise UserError(f"{gpu}: its memory is too small for {work}. {advice}") from error


def advise_halving(setting: str, size: int) -> str:
    """Return the advice to halve a setting, or to use a CPU if it is 1."""
    return f"Give {setting}={size // 2}" if size > 1 else "Give device=cpu, or use a GPU with more memory"


def explain_too_many_images(encode: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Return an encoder's method that encodes a batch of images, with an error if the batch is too large for the GPU."""

    @wraps(encode)
    def encode_or_explain(encoder: Any, images: Tensor) -> Tensor:
        number = len(images)
        advice = advise_halving("clip.batch_size", number)
        if number > 1:  # predict.py has the settings of the run's encoder, and encodes no more images than it answers
            advice += f", to eval_image.py with the run's clip=, or to predict.py batch_size={number // 2}"
        with explain_lack_of_memory(f"encoding {number} images at a time", advice):
            return encode(encoder, images)

    return encode_or_explain
