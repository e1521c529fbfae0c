import pickle

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from close_transfer.core.errors import UserError
from close_transfer.encoders import OpenClipEncoder
from tests.encoders.conftest import encode_full_length
from tests.settings import make_encoder


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_local_weights(tiny_architecture, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(tiny_architecture.state_dict(), path)
    else:
        save_file({k: v.contiguous() for k, v in tiny_architecture.state_dict().items()}, path)
    encoder = OpenClipEncoder(make_encoder(model="tiny-test", weights=str(path)))
    tokens = open_clip.get_tokenizer("tiny-test")(["a dog"], 32)
    np.testing.assert_allclose(
        encoder.encode_texts(["a dog"]), encode_full_length(tiny_architecture.eval(), tokens).numpy(), atol=1e-5
    )
    assert f"weights{suffix}" in encoder.name


class Malicious:
    """Code that a pickle would run when it is loaded."""

    def __reduce__(self):
        return (open, ("ran.txt", "w"))


def test_weights_that_would_run_code_are_refused(tiny_architecture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps({"state_dict": Malicious()}))
    with pytest.raises(UserError, match=r"clip\.weights=.*cannot be loaded into tiny-test"):
        OpenClipEncoder(make_encoder(model="tiny-test", weights=str(path)))
    assert not (tmp_path / "ran.txt").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"model": "ViT-B-23"},
            r"clip\.model=ViT-B-23: open_clip has no such architecture\. Give .*similar names are .*ViT-B-32",
        ),
        (
            {"model": "ViT-B-32", "pretrained": "opnai"},
            r"clip\.pretrained=opnai: .* has no such tag\. Choose one of .*openai",
        ),
        ({"model": "ViT-B-32", "weights": "nowhere.pt"}, r"clip\.weights=nowhere\.pt: there is no such file"),
        ({"model": "ViT-B-32", "pretrained": "random", "weights": "x.pt"}, r"both given\. Give one of them"),
        ({"pretrained": "random"}, r"clip\.pretrained=random: clip\.model=picturebook includes its weights\. Give"),
        ({"model": "local-dir:nowhere"}, r"clip\.model=local-dir:nowhere"),
    ],
)
def test_mistakes_name_the_value_and_what_is_allowed(values, message):
    with pytest.raises(UserError, match=message):
        OpenClipEncoder(make_encoder(**values))


def test_unreachable_hub_is_one_clear_sentence():
    with pytest.raises(
        UserError, match=r"could not be downloaded .*\. Connect to the hub once, or .*clip\.weights=FILE"
    ) as caught:
        OpenClipEncoder(make_encoder(model="ViT-B-32", pretrained="laion2b_s34b_b79k"))
    assert "\n" not in str(caught.value)
