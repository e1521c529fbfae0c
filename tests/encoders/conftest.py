"""A small architecture of open_clip, and the vectors that open_clip itself gives."""

import json

import open_clip
import pytest
import torch

TINY_VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TINY_TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def encode_full_length(model, tokens):
    """Return the vectors of the model's own text tower, which computes padding too."""
    with torch.inference_mode():
        return model.encode_text(tokens)


@pytest.fixture(scope="session")
def tiny_architecture(tmp_path_factory):
    """An architecture of open_clip's registry, small enough to build at once."""
    folder = tmp_path_factory.mktemp("architecture")
    (folder / "tiny-test.json").write_text(
        json.dumps({"embed_dim": 24, "vision_cfg": TINY_VISION, "text_cfg": TINY_TEXT})
    )
    open_clip.add_model_config(folder)
    torch.manual_seed(1)
    return open_clip.create_model("tiny-test")
