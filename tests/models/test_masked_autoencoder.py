"""The masked autoencoder: patches, masks, and an encoder that sees the visible patches only."""

import pytest
import torch

from close_transfer.encoders.captioner_encoder import build_vision_transformer, normalize_pixels
from close_transfer.models.captioner import Captioner, CaptionerConfig
from close_transfer.models.image_classifier import ImageClassifier, ImageClassifierConfig
from close_transfer.models.masked_autoencoder import (
    MaskedAutoencoder,
    MaskedAutoencoderConfig,
    cut_into_patches,
    normalize_patches,
    select_patches,
)

SIZES = {"image_size": 12, "patch_size": 4, "width": 8, "depth": 2, "heads": 2}
NUM_VISIBLE = 3
DECODER = {"vocab_size": 20, "width": 8, "depth": 1, "heads": 2, "num_positions": 6}
SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (2, 12, 12, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build(num_visible=NUM_VISIBLE):
    torch.manual_seed(0)
    return MaskedAutoencoder(MaskedAutoencoderConfig(SIZES, num_visible)).eval()


def draw_order(seed=1):
    return torch.rand(2, 9, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)


def hide(pixels, order, num_visible=NUM_VISIBLE):
    """Return the images with other pixels in the hidden patches."""
    changed = pixels.clone()
    for image, numbers in zip(changed, order[:, num_visible:].tolist(), strict=True):
        for number in numbers:
            row, column = divmod(number, 3)
            image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] ^= 255
    return changed


def test_patches_are_in_the_encoders_order(pixels):
    embed = build().vision.patch_embed
    patches = cut_into_patches(pixels, 4)
    weight = embed.proj.weight.permute(0, 2, 3, 1).flatten(1)  # a patch's values are row, column, colour
    torch.testing.assert_close(patches @ weight.T + embed.proj.bias, embed(normalize_pixels(pixels)))


def test_targets_have_mean_0_and_variance_1_and_a_plain_patch_is_0(pixels):
    pixels[0, :4, :4] = 200
    targets = normalize_patches(cut_into_patches(pixels, 4))
    torch.testing.assert_close(targets[0, 0], torch.zeros(48), atol=1e-3, rtol=0)
    torch.testing.assert_close(targets[1].mean(dim=-1), torch.zeros(9), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets[1].var(dim=-1), torch.ones(9), atol=1e-4, rtol=0)


def test_selected_patches_are_those_of_the_numbers(pixels):
    patches, order = cut_into_patches(pixels, 4), draw_order()
    assert torch.equal(select_patches(patches, order)[1, 2], patches[1, order[1, 2]])


@torch.no_grad()
def test_the_encoder_sees_the_visible_patches_only(pixels):
    model, order = build(), draw_order()
    predicted = model(pixels, order)
    assert predicted.shape == (2, 6, 48)
    torch.testing.assert_close(model(hide(pixels, order), order), predicted)
    assert not torch.allclose(model(hide(pixels, order.flip(1)), order), predicted)
    assert not torch.allclose(model(hide(pixels, order, 2), order), predicted)


@torch.no_grad()
def test_with_all_patches_visible_it_is_the_whole_encoder(pixels):
    model = build(num_visible=9)
    read = []
    model.decoder.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    order = draw_order()
    model(pixels, order)
    torch.testing.assert_close(read[0], select_patches(model.vision.forward_features(normalize_pixels(pixels)), order))


@torch.no_grad()
def test_predictions_follow_the_order_of_the_hidden_patches(pixels):
    model, order = build(), draw_order()
    swapped = torch.cat([order[:, :NUM_VISIBLE].flip(1), order[:, NUM_VISIBLE:].flip(1)], dim=1)
    torch.testing.assert_close(model(pixels, swapped).flip(1), model(pixels, order))


def test_a_seed_gives_every_objective_the_same_encoder():
    builders = (
        lambda: build_vision_transformer(SIZES),
        lambda: Captioner(CaptionerConfig(SIZES, DECODER | SPECIAL)).vision,
        lambda: ImageClassifier(ImageClassifierConfig(SIZES, 5)).vision,
        lambda: MaskedAutoencoder(MaskedAutoencoderConfig(SIZES, NUM_VISIBLE)).vision,
    )
    encoders = []
    for build_encoder in builders:
        torch.manual_seed(3)
        encoders.append(build_encoder().state_dict())
    first, *others = encoders
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)


def test_a_classifier_reads_the_mean_of_the_tokens(pixels):
    torch.manual_seed(0)
    model = ImageClassifier(ImageClassifierConfig(SIZES, 5))
    assert not model(pixels).any()
    torch.nn.init.normal_(model.head.weight)
    expected = model.vision.forward_features(normalize_pixels(pixels)).mean(dim=1) @ model.head.weight.T
    torch.testing.assert_close(model(pixels), expected)
