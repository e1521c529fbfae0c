"""Encoders of published sizes, built with random weights, saved, and loaded from the file as a user would."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_model

from close_transfer.core.errors import UserError
from close_transfer.encoders import OpenClipEncoder
from close_transfer.encoders.catalogue import format_catalogue
from close_transfer.encoders.published_weights import find_usage
from close_transfer.encoders.text_forward import find_causal_text_tower
from close_transfer.models.bpe_tokenizer import train_bpe
from tests.settings import make_encoder

TEXTS = ["a dog", "two small red cats on a beach at night, with a house nearby", ""]


def config(model, **values):
    return make_encoder(**{"model": model, "batch_size": 2} | values)


def trained_tokenizer(folder):
    """Stands in for Gemma's, which SigLIP 2 uses: another vocabulary, the same special tokens."""
    tokenizer = train_bpe(TEXTS * 3, 400, end_token="<eos>")
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "tag", "num_parameters", "is_causal"),
    [
        ("ViT-B-32", "openai", 151_277_313, True),
        ("ViT-L-14", "datacomp_xl_s13b_b90k", 427_616_513, True),
        ("ViT-B-16-SigLIP2", None, 375_187_970, False),
    ],
)
def test_published_encoders_load_from_a_local_file(model, tag, num_parameters, is_causal, tmp_path):
    torch.manual_seed(0)
    made = open_clip.create_model(model, force_quick_gelu=tag == "openai").eval()
    assert sum(one.numel() for one in made.parameters()) == num_parameters
    save_model(made, str(tmp_path / "w.safetensors"))
    own = {} if is_causal else {"tokenizer": trained_tokenizer(tmp_path / "tokenizer")}
    encoder = OpenClipEncoder(config(model, pretrained=tag, weights=str(tmp_path / "w.safetensors"), **own))
    assert (find_causal_text_tower(made) is not None) == is_causal
    tokens = encoder._tokenizer(TEXTS, encoder.context_length)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8))
    with torch.inference_mode():
        expected = made.encode_text(tokens).numpy()
        seen = made.encode_image(encoder._preprocess(picture)[None]).numpy()
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(encoder.encode_images([picture]), seen, rtol=0, atol=1e-4 * np.abs(seen).max())
    assert encoder.dim == expected.shape[1]


OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), "bicubic", "shortest")
SIGLIP = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "squash")


@pytest.mark.parametrize(
    ("model", "tag", "quick_gelu", "preprocessing"),
    [
        ("ViT-L-14", "openai", True, OPENAI),
        ("ViT-L-14", "datacomp_xl_s13b_b90k", False, OPENAI),
        ("ViT-L-14-quickgelu", "dfn2b", True, OPENAI),
        ("ViT-B-16-SigLIP2", None, False, SIGLIP),  # its one tag
    ],
)
def test_how_published_weights_are_used_is_known_of_every_tag(model, tag, quick_gelu, preprocessing):
    usage = find_usage(config(model, pretrained=tag, weights=None if tag else "w.pt"))
    assert (usage.quick_gelu, usage.preprocessing) == (quick_gelu, preprocessing)


def test_a_file_says_which_tag_it_is_of_where_tags_differ():
    with pytest.raises(
        UserError, match=r"clip\.weights=w\.pt: weights of ViT-B-32 differ .*clip\.pretrained=TAG: openai"
    ):
        find_usage(config("ViT-B-32", weights="w.pt"))
    with pytest.raises(UserError, match=r"trained with plain GELU\. Give clip\.model=ViT-B-32$"):
        find_usage(config("ViT-B-32-quickgelu", pretrained="laion2b_s34b_b79k"))


@pytest.fixture
def tagged(tmp_path, monkeypatch):
    """A tiny architecture with a tag like OpenAI's and one like SigLIP's, and a file of its weights."""
    sizes = {"layers": 1, "width": 16, "patch_size": 8, "image_size": 16, "head_width": 8}
    text = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    made = {"embed_dim": 8, "vision_cfg": sizes, "text_cfg": text}
    (tmp_path / "tagged-test.json").write_text(json.dumps(made))
    open_clip.add_model_config(tmp_path)
    tags = {
        "openai": {"quick_gelu": True},
        "squashed": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash"},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tagged-test", tags)
    torch.manual_seed(0)
    save_model(open_clip.create_model("tagged-test"), str(tmp_path / "w.safetensors"))
    return str(tmp_path / "w.safetensors")


def test_a_file_is_used_as_its_tag_is(tagged):
    openai, squashed = (
        OpenClipEncoder(config("tagged-test", pretrained=tag, weights=tagged)) for tag in ("openai", "squashed")
    )
    for encoder, quick in ((openai, True), (squashed, False)):
        kinds = {type(part).__name__ for part in encoder._model.modules()}
        assert ("QuickGELU" in kinds) == quick
    assert np.abs(openai.encode_texts(TEXTS) - squashed.encode_texts(TEXTS)).max() > 1e-4
    assert openai.text_key != squashed.text_key
    # Grey of 255 / 2 is zero of a mean of 0.5; a wide image is squashed, so both its ends are seen.
    wide = Image.new("RGB", (64, 16), (255, 255, 255))
    wide.paste((0, 0, 0), (0, 0, 8, 16))
    pixels = squashed._preprocess(wide)
    assert pixels.shape == (3, 16, 16)
    assert pixels[:, :, 0].max() < -0.5
    assert openai._preprocess(wide)[:, :, 0].min() > 0, "its middle is cut out"
    grey = squashed._preprocess(Image.new("RGB", (16, 16), (128, 128, 128)))
    assert grey.abs().max() < 0.01


def test_openai_is_the_default_tag():
    given = {"pretrained": "auto"}
    assert config("ViT-L-14", **given).pretrained == "openai"
    assert config("ViT-L-14", weights="w.pt", **given).pretrained is None
    assert config("local-dir:folder", **given).pretrained is None


def test_a_tokenizer_of_the_hub_can_be_a_local_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"its tokenizer nowhere cannot be loaded .*clip\.tokenizer=FOLDER"):
        OpenClipEncoder(config("ViT-B-32", pretrained="random", tokenizer="nowhere"))
    folder = trained_tokenizer(tmp_path / "tokenizer")
    encoder = OpenClipEncoder(config("ViT-B-32", pretrained="random", tokenizer=folder))
    tokens = encoder._tokenizer(["a dog"], 77)
    assert tokens.shape == (1, 77)
    assert encoder.count_cut(["dog " * 100, "a dog"]) == 1


def test_the_list_of_encoders_names_what_each_needs():
    lines = {line.split()[0]: line.split() for line in format_catalogue().splitlines() if line.strip()}
    assert lines["ViT-L-14"][1:4] == ["768", "224", "77"]
    assert "openai," in lines["ViT-L-14"]
    assert lines["ViT-B-16-SigLIP2"][1:5] == ["768", "224", "64", "timm/ViT-B-16-SigLIP2"]
    assert set(open_clip.list_models()) <= set(lines)
