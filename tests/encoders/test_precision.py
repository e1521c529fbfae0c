import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from close_transfer.config.components import TimmConfig
from close_transfer.encoders import OpenClipEncoder, TimmEncoder
from close_transfer.encoders.precision import resolve_precision
from close_transfer.encoders.prefix_batches import build_prefix_batch
from close_transfer.encoders.text_forward import find_causal_text_tower
from tests.settings import make_encoder, make_settings

TEXTS = [
    "a red circle",
    "two small blue squares above a green triangle",
    "",
    "a yellow star to the left of a black square",
]


def images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)) for _ in range(3)]


def min_cosine(first, second):
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return float(((first * second).sum(axis=-1) / norms).min())


@pytest.mark.parametrize(
    ("has_bf16", "capability", "precision"),
    [(True, (9, 0), "bf16"), (False, (7, 5), "fp16"), (False, (6, 1), "fp32")],
)
def test_auto_depends_on_the_device(monkeypatch, has_bf16, capability, precision):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", "cuda:0") == precision
    assert resolve_precision("auto", "cpu") == "fp32"
    assert resolve_precision("fp32", "cuda") == "fp32"


@pytest.fixture(scope="module")
def encoders():
    return {
        precision: OpenClipEncoder(make_encoder(precision=precision)) for precision in ("auto", "fp32", "bf16", "fp16")
    }


def test_each_precision_has_its_own_vectors_in_the_cache(encoders):
    for key in ("text_key", "image_key"):
        assert getattr(encoders["auto"], key) == getattr(encoders["fp32"], key)
        assert len({getattr(encoder, key) for encoder in encoders.values()}) == 3
    assert len({encoder.fingerprint for encoder in encoders.values()}) == 1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_vectors_of_16_bits_have_the_direction_of_fp32(encoders, precision):
    exact, rounded = encoders["fp32"], encoders[precision]
    for first, second in (
        (exact.encode_texts(TEXTS), rounded.encode_texts(TEXTS)),
        (exact.encode_images(images()), rounded.encode_images(images())),
    ):
        assert second.dtype == np.float32
        assert not np.array_equal(first, second)
        assert min_cosine(first, second) >= 0.9999


def test_precision_holds_for_grids_and_timm():
    timm = {"model": "test_vit", "pretrained": "random"}
    for build in (
        lambda precision: OpenClipEncoder(make_encoder(features="grid", precision=precision)),
        lambda precision: TimmEncoder(make_settings(TimmConfig, "clip/timm.yaml", precision=precision, **timm)),
    ):
        exact, rounded = build("fp32"), build("bf16")
        assert exact.image_key != rounded.image_key
        assert min_cosine(exact.encode_images(images()), rounded.encode_images(images())) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ViT-B-32", "ViT-L-14"])
def test_published_towers_in_bf16_have_the_direction_of_fp32(model):
    torch.manual_seed(0)
    made = open_clip.create_model(model).eval().requires_grad_(False)
    tokens = open_clip.get_tokenizer(model)([*TEXTS, "a man riding a horse on a beach " * 8])
    towers = [find_causal_text_tower(made, dtype) for dtype in (torch.float32, torch.bfloat16)]
    batch = build_prefix_batch(tokens.numpy(), towers[0].count_tokens(tokens).numpy())
    exact, rounded = (tower.encode(batch) for tower in towers)
    assert min_cosine(exact.numpy(), rounded.numpy()) >= 0.9999
