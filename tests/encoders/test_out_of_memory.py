"""A GPU whose memory is too small: the message names what did not fit and a setting that needs less."""

from types import SimpleNamespace

import pytest
import torch

from close_transfer.core.errors import UserError
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder
from close_transfer.encoders.out_of_memory import advise_halving, explain_lack_of_memory
from close_transfer.encoders.timm_encoder import TimmEncoder
from close_transfer.inference import caption_scorers


def fill(*_):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Full:
    __call__ = encode_image = fill


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


@pytest.mark.parametrize("encoder", [OpenClipEncoder, TimmEncoder])
def test_images_that_do_not_fit_are_encoded_with_a_smaller_batch(encoder):
    parts = SimpleNamespace(precision="fp32", _device="cpu", _tokenizer="any", _is_grid=False, _model=Full())
    with pytest.raises(
        UserError, match=r"encoding 8 images at a time\. Give clip\.batch_size=4, .* predict\.py batch_size=4$"
    ):
        encoder._encode(parts, torch.zeros(8, 3, 2, 2))
    with pytest.raises(UserError, match=r"Give device=cpu, or use a GPU with more memory$"):
        encoder._encode(parts, torch.zeros(1, 3, 2, 2))


def test_captions_that_do_not_fit_are_scored_with_a_smaller_batch(monkeypatch):
    matrix = SimpleNamespace(gather=lambda rows: None)
    monkeypatch.setattr(caption_scorers, "encode_image_refs", lambda *_: (matrix, {"a": 0}))
    task = SimpleNamespace(prepare_for_testing=lambda examples, modality: examples)
    scorer = object.__new__(caption_scorers.LikelihoodScorer)  # without a model
    vars(scorer).update(
        encoder=None,
        _cache=None,
        _task=task,
        _lowercase=False,
        _batch_size=8,
        _decoder=SimpleNamespace(score_texts=fill),
    )
    with pytest.raises(UserError, match=r"captions of 8 images at a time\. Give batch_size=4"):
        scorer.score([SimpleNamespace(key="a")], [["a dog"]])
