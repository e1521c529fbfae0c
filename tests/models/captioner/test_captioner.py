"""The captioner as it is trained, at the published sizes and at small ones."""

import pytest
import torch
from transformers import AutoConfig

from close_transfer.cli import compose_config
from close_transfer.config.train_captioner import TrainCaptionerConfig
from close_transfer.encoders.captioner_encoder import build_vision_transformer
from close_transfer.models.captioner import Captioner, CaptionerConfig, build_captioner_config

SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
VISION = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2}
DECODER = {"vocab_size": 20, "width": 8, "depth": 1, "heads": 2, "num_positions": 6, **SPECIAL}


def build(**decoder):
    torch.manual_seed(0)
    return Captioner(CaptionerConfig(vision=VISION, decoder=DECODER | decoder))


def count_vision(width, depth, patch, tokens):
    """Parameters of a vision transformer without class token, by hand."""
    patches = 3 * patch**2 * width + width
    positions = tokens * width
    attention = width * 3 * width + 3 * width + width * width + width
    mlp = width * 4 * width + 4 * width + 4 * width * width + width
    norm = 2 * width  # gain and bias
    return patches + positions + depth * (2 * norm + attention + mlp) + norm


def count_decoder(width, depth, vocabulary, positions):
    """Parameters of a decoder, by hand; its last norm and output layer have biases."""
    attention = 4 * width * width  # of queries, keys, values and the output; a layer has two
    mlp = 2 * width * 4 * width
    norm = width  # gain only; a layer has three
    embeddings = (vocabulary + 1) * width + positions * width  # one more row, for the mask
    return embeddings + depth * (2 * attention + mlp + 3 * norm) + 2 * norm + vocabulary * width + vocabulary


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "vision", "decoder"),
    [
        ("b16", (768, 12, 16, 196), (768, 6, 32_000, 64)),
        ("l14", (1024, 24, 14, 256), (1024, 6, 32_000, 64)),
        ("small", (128, 6, 16, 16), (128, 3, 800, 40)),
        ("fine", (128, 6, 8, 64), (128, 3, 800, 40)),
    ],
)
def test_parameters_follow_from_the_sizes(size, vision, decoder):
    given = compose_config("train_captioner", TrainCaptionerConfig, ["output=x", f"captioner={size}"])
    config = build_captioner_config(given, given.captioner.vocab_size, SPECIAL)
    with torch.device("meta"):
        model = Captioner(config)
    assert sum(p.numel() for p in model.vision.parameters()) == count_vision(*vision)
    assert sum(p.numel() for p in model.decoder.parameters()) == count_decoder(*decoder)


def test_the_published_encoder_has_85797120_parameters():
    # patches 590,592; positions 150,528; 12 layers of 7,087,872; last norm 1,536
    with torch.device("meta"):
        encoder = build_vision_transformer(
            {"image_size": 224, "patch_size": 16, "width": 768, "depth": 12, "heads": 12}
        )
    assert sum(p.numel() for p in encoder.parameters()) == 85_797_120
    assert count_vision(768, 12, 16, 196) == 590_592 + 150_528 + 12 * 7_087_872 + 1_536 == 85_797_120
    # L/14: patches 603,136; positions 262,144; 24 layers of 12,596,224; last norm 2,048
    assert count_vision(1024, 24, 14, 256) == 603_136 + 262_144 + 24 * 12_596_224 + 2_048 == 303_176_704


def test_initial_weights_have_the_published_spread():
    torch.manual_seed(0)
    width = 64
    vision = build_vision_transformer({"image_size": 8, "patch_size": 4, "width": width, "depth": 2, "heads": 2})
    decoder = Captioner(CaptionerConfig(VISION, DECODER | {"width": width, "vocab_size": 500, "depth": 2})).decoder
    square, mlp = (2 / (2 * width)) ** 0.5, (2 / (5 * width)) ** 0.5  # Xavier's; flax draws each projection on its own
    lecun = width**-0.5
    expected = {"attn.qkv": square, "attn.proj": square, "mlp.fc1": mlp, "mlp.fc2": mlp, "patch_embed.proj": 48**-0.5}
    for name, std in expected.items():
        layers = [weight for key, weight in vision.named_parameters() if key.endswith(f"{name}.weight")]
        assert all(weight.std().item() == pytest.approx(std, rel=0.05) for weight in layers) and layers, name
    expected = {"in_proj_weight": lecun, "out_proj.weight": lecun, "linear1.weight": mlp, "linear2.weight": mlp}
    for name, std in expected.items():
        layers = [weight for key, weight in decoder.layers.named_parameters() if key.endswith(name)]
        assert all(weight.std().item() == pytest.approx(std, rel=0.05) for weight in layers) and layers, name
    assert decoder.embedding.weight.std().item() == pytest.approx(1, rel=0.05)
    assert decoder.positions.std().item() == pytest.approx(lecun, rel=0.15)
    assert not decoder.head.weight.any() and not decoder.head.bias.any()
    assert {norm.eps for model in (vision, decoder) for norm in model.modules() if hasattr(norm, "eps")} == {1e-6}


def test_a_blind_captioner_does_not_see_the_image():
    labels = torch.randint(2, 20, (2, 5))
    first, second = (torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8) for _ in range(2))
    blind, seeing = build(is_blind=True), build()
    for model in (blind, seeing):
        torch.nn.init.normal_(model.decoder.head.weight)
    assert torch.equal(blind(first, labels), blind(second, labels))
    assert not torch.equal(seeing(first, labels), seeing(second, labels))
    assert not any(p.requires_grad for p in blind.vision.parameters())


def test_an_untrained_captioner_gives_every_token_the_same_probability():
    logits = build()(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), torch.randint(2, 20, (1, 5)))
    assert not logits.any()


def test_transformers_knows_the_type_of_a_checkpoint():
    # It warned about an unknown type at every resume.
    assert isinstance(AutoConfig.for_model("captioner_with_encoder"), CaptionerConfig)
