"""A GPU whose memory is too small: the message names what did not fit and a setting that needs less."""

import pytest
import torch
from PIL import Image

from close_transfer.core.errors import UserError
from close_transfer.encoders.device_memory import advise_halving, explain_lack_of_memory
from close_transfer.encoders.encoder import encode_in_batches


def fill(*_):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_the_message_is_two_sentences_with_a_setting(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA GeForce RTX 3070")
    with (
        pytest.raises(UserError, match=r"^NVIDIA GeForce RTX 3070: its memory is too small for work\. Give size=4$"),
        explain_lack_of_memory("work", advise_halving("size", 8)),
    ):
        fill()
    assert advise_halving("size", 1) == "Give device=cpu, or use a GPU with more memory"
    with pytest.raises(KeyError), explain_lack_of_memory("work", ""):
        raise KeyError


def test_images_that_do_not_fit_are_encoded_with_a_smaller_batch():
    with pytest.raises(UserError, match=r"encoding 8 images at a time\. Give clip\.batch_size=4"):
        encode_in_batches([Image.new("RGB", (2, 2))], lambda image: torch.zeros(1), fill, 8)
