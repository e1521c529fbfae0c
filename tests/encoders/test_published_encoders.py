"""Encoders of published sizes, built with random weights, saved, and loaded from the file as a user would."""

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_model

from close_transfer.bpe import train_bpe
from close_transfer.config import OpenClipConfig
from close_transfer.encoders import OpenClipEncoder
from close_transfer.encoders.catalogue import catalogue
from close_transfer.encoders.text_forward import causal_text_tower
from close_transfer.errors import UserError

TEXTS = ["a dog", "two small red cats on a beach at night, with a house nearby", ""]


def config(model, **values):
    base = {"kind": "open_clip", "model": model, "pretrained": None, "weights": None, "batch_size": 2}
    return OpenClipConfig(**base | values)


def trained_tokenizer(folder):
    """Stands in for Gemma's, which SigLIP 2 uses: another vocabulary, the same special tokens."""
    tokenizer = train_bpe(TEXTS * 3, 400, end_token="<eos>")
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "num_parameters", "is_causal"),
    [("ViT-B-32", 151_277_313, True), ("ViT-L-14", 427_616_513, True), ("ViT-B-16-SigLIP2", 375_187_970, False)],
)
def test_published_encoders_load_from_a_local_file(model, num_parameters, is_causal, tmp_path):
    torch.manual_seed(0)
    made = open_clip.create_model(model).eval()
    assert sum(one.numel() for one in made.parameters()) == num_parameters
    save_model(made, str(tmp_path / "w.safetensors"))
    own = {} if is_causal else {"tokenizer": trained_tokenizer(tmp_path / "tokenizer")}
    encoder = OpenClipEncoder(config(model, weights=str(tmp_path / "w.safetensors"), **own))
    assert (causal_text_tower(made) is not None) == is_causal
    tokens = encoder._tokenizer(TEXTS, encoder.context_length)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8))
    with torch.inference_mode():
        expected = made.encode_text(tokens).numpy()
        seen = made.encode_image(encoder._preprocess(picture)[None]).numpy()
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(encoder.encode_images([picture]), seen, rtol=0, atol=1e-4 * np.abs(seen).max())
    assert encoder.dim == expected.shape[1]


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
    lines = {line.split()[0]: line.split() for line in catalogue().splitlines() if line.strip()}
    assert lines["ViT-L-14"][1:4] == ["768", "224", "77"]
    assert "openai," in lines["ViT-L-14"]
    assert lines["ViT-B-16-SigLIP2"][1:5] == ["768", "224", "64", "timm/ViT-B-16-SigLIP2"]
    assert set(open_clip.list_models()) <= set(lines)
