"""Text tower and image tower as they are trained, against open_clip's own."""

import math

import open_clip
import pytest
import torch

from close_transfer.encoders.captioner_encoder import build_vision_transformer, normalize_pixels
from close_transfer.encoders.captioner_tower import describe_tower, register_tower_name
from close_transfer.models.two_towers import TwoTowers, TwoTowersConfig, describe_text_tower

SIZES = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2}
TEXT = describe_text_tower(width=12, depth=2, heads=2, context_length=6, vocab_size=20, pad_id=0, end_id=1)
TOKENS = torch.tensor([[5, 6, 1, 0], [7, 1, 0, 0], [8, 9, 10, 1]])


def build(vision=SIZES, **changed):
    torch.manual_seed(0)
    return TwoTowers(TwoTowersConfig(TEXT, 6, vision, **changed)).eval()


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_open_clip_computes_the_same_from_the_weights(quick_gelu):
    model = build(quick_gelu=quick_gelu)
    vision = describe_tower(SIZES, "linear")
    register_tower_name(vision["timm_model_name"])
    clip = open_clip.CustomTextCLIP(6, vision, TEXT, quick_gelu=quick_gelu).eval()
    clip.load_state_dict(model.collect_weights())
    pixels = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8)
    full = torch.nn.functional.pad(TOKENS, (0, 2))
    with torch.no_grad():
        images, texts, scale = model(pixels, TOKENS)
        torch.testing.assert_close(images, clip.encode_image(normalize_pixels(pixels), normalize=True))
        torch.testing.assert_close(texts, clip.encode_text(full, normalize=True))
    torch.testing.assert_close(scale, clip.logit_scale.exp())


def test_the_image_tower_begins_as_a_captioners_of_the_same_seed():
    torch.manual_seed(0)
    captioners = build_vision_transformer(SIZES).state_dict()
    assert all(torch.equal(tensor, captioners[name]) for name, tensor in build().vision.state_dict().items())


def test_without_an_image_tower_vectors_are_compared_as_they_are():
    model, vectors = build(vision=None), torch.randn(3, 6)
    assert not any(name.startswith("visual") for name in model.collect_weights())
    with torch.no_grad():
        images, _, _ = model(vectors, TOKENS)
    torch.testing.assert_close(images, torch.nn.functional.normalize(vectors, dim=-1))


def test_the_temperature_begins_as_open_clips_and_is_limited():
    model = build()
    assert float(model.logit_scale) == pytest.approx(math.log(1 / 0.07))
    for value, limited in ((9.0, 100), (-1.0, 1)):
        model.logit_scale.data.fill_(value)
        with torch.no_grad():
            assert float(model(torch.zeros(3, 8, 8, 3, dtype=torch.uint8), TOKENS)[2]) == pytest.approx(limited)
