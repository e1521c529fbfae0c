import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders import OpenClipEncoder
from close_transfer.encoders.prefix_batches import build_prefix_batch, plan_batches
from close_transfer.encoders.text_forward import find_causal_text_tower
from tests.encoders.conftest import TINY_TEXT, TINY_VISION, encode_full_length
from tests.settings import make_encoder

TEXTS = ["a dog", "two small red cats on a beach at night, with a house nearby", "", "Ein Hund", "a dog a dog a dog"]


def config(**values):
    return make_encoder(**{"batch_size": 3} | values)


@pytest.fixture(scope="module")
def encoder():
    return OpenClipEncoder(config())


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
    torch.testing.assert_close(cut, encode_full_length(model, tokens), rtol=0, atol=1e-5)


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
    expected = encode_full_length(model, tokens)
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
def test_towers_that_are_not_causal_or_pool_elsewhere_take_the_encode_full_length(text):
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


def test_other_weights_are_another_encoder(tiny_architecture, tmp_path):
    keys = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        save_file({k: v.contiguous() for k, v in open_clip.create_model("tiny-test").state_dict().items()}, path)
        one = OpenClipEncoder(config(model="tiny-test", weights=str(path)))
        keys |= {one.fingerprint, one.text_key, one.image_key}
    assert len(keys) == 6


def test_a_text_has_the_same_vector_with_any_other_texts():
    """Else a training whose encoding was interrupted would not end with the weights of one that was not."""
    texts = [text for scene in scenes("val", 20) for text in (c.text for c in captions(scene))] + ["", "a " * 90]
    encoder = OpenClipEncoder(config(batch_size=64))
    together = encoder.encode_texts(texts)
    assert np.array_equal(together[::-1], encoder.encode_texts(texts[::-1]))
    for start in range(0, len(texts), 37):
        assert np.array_equal(encoder.encode_texts(texts[start : start + 5]), together[start : start + 5])
