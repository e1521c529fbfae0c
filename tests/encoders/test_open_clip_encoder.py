import json
import pickle

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from close_transfer.core.errors import UserError
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders import OpenClipEncoder
from close_transfer.encoders.prefix_batches import build_prefix_batch, plan_batches
from close_transfer.encoders.text_forward import find_causal_text_tower
from tests.settings import make_encoder

TEXTS = ["a dog", "two small red cats on a beach at night, with a house nearby", "", "Ein Hund", "a dog a dog a dog"]

TINY_VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TINY_TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def config(**values):
    return make_encoder(**{"batch_size": 3} | values)


@pytest.fixture(scope="module")
def encoder():
    return OpenClipEncoder(config())


def full_length(model, tokens):
    with torch.inference_mode():
        return model.encode_text(tokens)


@pytest.mark.parametrize("kind", ["CLIP", "CustomTextCLIP", "shipped"])
def test_cut_texts_have_the_vectors_of_the_full_length(kind, encoder):
    torch.manual_seed(0)
    if kind == "shipped":
        model, tokens = encoder._model, encoder._tokenizer(TEXTS, encoder.context_length)
    else:
        model = getattr(open_clip, kind)(embed_dim=24, vision_cfg=TINY_VISION, text_cfg=TINY_TEXT).eval()
        tokens = open_clip.get_tokenizer("ViT-B-32")(TEXTS, 32)
    tower = find_causal_text_tower(model)
    lengths = tower.count_tokens(tokens)
    assert int(lengths.max()) < tokens.shape[1]
    with torch.inference_mode():
        cut = tower.encode(build_prefix_batch(tokens[:, : int(lengths.max())].numpy(), lengths.numpy()))
    torch.testing.assert_close(cut, full_length(model, tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pool_type", ["argmax", "eos"])
def test_shared_prefixes_have_the_vectors_of_the_full_length(pool_type):
    torch.manual_seed(0)
    text = {**TINY_TEXT, "pool_type": pool_type, "eos_id": 49407, "ls_init_value": 0.5, "layers": 3, "mlp_ratio": 2.0}
    model = open_clip.CustomTextCLIP(embed_dim=24, vision_cfg=TINY_VISION, text_cfg=text, quick_gelu=True).eval()
    texts = [
        f"a {color} {shape}{tail}"
        for color in ("red", "blue")
        for shape in ("dog", "cat")
        for tail in ("", " and a", " here")
    ]
    tokens = open_clip.get_tokenizer("ViT-B-32")([*texts, *TEXTS, texts[0], "dog " * 50], 32)
    tower = find_causal_text_tower(model)
    expected = full_length(model, tokens)
    lengths = tower.count_tokens(tokens).numpy()
    with torch.inference_mode():
        for max_tokens in (1, 100, 10_000):
            for rows, batch in plan_batches(tokens.numpy(), lengths, max_tokens):
                torch.testing.assert_close(tower.encode(batch), expected[torch.from_numpy(rows)], rtol=0, atol=1e-5)


def test_groups_have_the_vectors_of_texts_alone(tiny_architecture, caplog):
    encoder = OpenClipEncoder(config(model="tiny-test", pretrained="random"))
    groups = [TEXTS[:2], ["a café", *TEXTS[2:]], ["a dog"]]
    with caplog.at_level("INFO"):
        vectors = list(encoder.encode_text_groups(groups))
    assert [len(array) for array in vectors] == [2, 4, 1]
    assert "1 of 7 texts went through open_clip's own tokenizer" in caplog.text
    alone = np.concatenate([encoder.encode_texts([text]) for group in groups for text in group])
    np.testing.assert_allclose(np.concatenate(vectors), alone, atol=1e-5)


def test_order_and_batching_change_nothing(encoder):
    together = encoder.encode_texts(TEXTS)
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        {"no_causal_mask": True},
        {"no_causal_mask": True, "pool_type": "last"},
        {"embed_cls": True, "pad_id": 0, "pool_type": "last"},
    ],
)
def test_towers_that_are_not_causal_or_pool_elsewhere_take_the_full_length(text):
    model = open_clip.CustomTextCLIP(embed_dim=24, vision_cfg=TINY_VISION, text_cfg={**TINY_TEXT, **text})
    assert find_causal_text_tower(model) is None


def test_width_context_and_vectors_come_from_the_model(encoder):
    assert encoder.dim == encoder.encode_texts(["a"]).shape[1]
    assert encoder.context_length == encoder._model.context_length
    lengths = np.linalg.norm(encoder.encode_texts(TEXTS), axis=1)
    assert np.abs(lengths - 1).max() > 0.05, "vectors are kept as the tower gives them"


def test_texts_beyond_the_context_are_counted(encoder):
    assert encoder.count_cut(["a red dog", "a red dog and " * 50]) == 1
    texts = [" ".join(["dog"] * number) for number in range(30, 46)]
    padded = encoder._tokenizer(texts, 99)  # id 0 pads
    assert encoder.count_cut(texts) == int(((padded != 0).sum(dim=1) > encoder.context_length).sum()) > 0


@pytest.fixture(scope="module")
def tiny_architecture(tmp_path_factory):
    """An architecture of open_clip's registry, small enough to build at once."""
    folder = tmp_path_factory.mktemp("architecture")
    (folder / "tiny-test.json").write_text(
        json.dumps({"embed_dim": 24, "vision_cfg": TINY_VISION, "text_cfg": TINY_TEXT})
    )
    open_clip.add_model_config(folder)
    torch.manual_seed(1)
    return open_clip.create_model("tiny-test")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_local_weights(tiny_architecture, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(tiny_architecture.state_dict(), path)
    else:
        save_file({k: v.contiguous() for k, v in tiny_architecture.state_dict().items()}, path)
    encoder = OpenClipEncoder(config(model="tiny-test", weights=str(path)))
    tokens = open_clip.get_tokenizer("tiny-test")(["a dog"], 32)
    np.testing.assert_allclose(
        encoder.encode_texts(["a dog"]), full_length(tiny_architecture.eval(), tokens).numpy(), atol=1e-5
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
        OpenClipEncoder(config(model="tiny-test", weights=str(path)))
    assert not (tmp_path / "ran.txt").exists()


def test_other_weights_are_another_encoder(tiny_architecture, tmp_path):
    keys = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        save_file({k: v.contiguous() for k, v in open_clip.create_model("tiny-test").state_dict().items()}, path)
        one = OpenClipEncoder(config(model="tiny-test", weights=str(path)))
        keys |= {one.fingerprint, one.text_key, one.image_key}
    assert len(keys) == 6


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
        OpenClipEncoder(config(**values))


def test_unreachable_hub_is_one_clear_sentence():
    with pytest.raises(
        UserError, match=r"could not be downloaded .*\. Connect to the hub once, or .*clip\.weights=FILE"
    ) as caught:
        OpenClipEncoder(config(model="ViT-B-32", pretrained="laion2b_s34b_b79k"))
    assert "\n" not in str(caught.value)


def test_a_text_has_the_same_vector_with_any_other_texts():
    """Else a training whose encoding was interrupted would not end with the weights of one that was not."""
    texts = [text for scene in scenes("val", 20) for text in (c.text for c in captions(scene))] + ["", "a " * 90]
    encoder = OpenClipEncoder(config(batch_size=64))
    together = encoder.encode_texts(texts)
    assert np.array_equal(together[::-1], encoder.encode_texts(texts[::-1]))
    for start in range(0, len(texts), 37):
        assert np.array_equal(encoder.encode_texts(texts[start : start + 5]), together[start : start + 5])
