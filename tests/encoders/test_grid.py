"""Grids of image vectors, from open_clip's towers and timm's."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from close_transfer.config.components import TimmConfig
from close_transfer.core.errors import UserError
from close_transfer.encoders import OpenClipEncoder, TimmEncoder
from tests.settings import make_encoder

SMALL = {
    "kind": "timm",
    "model": "test_vit",
    "pretrained": "random",
    "weights": None,
    "image_size": None,
    "features": "grid",
    "precision": "fp32",
    "seed": 0,
    "batch_size": 2,
}


def pictures(count=3, size=(40, 30)):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) for _ in range(count)]


def timm_encoder(**changes):
    return TimmEncoder(TimmConfig(**SMALL | changes))


def test_a_grid_of_picturebooks_clip_is_what_its_tower_pools():
    pooled = OpenClipEncoder(make_encoder(batch_size=2))
    grid = OpenClipEncoder(make_encoder(batch_size=2, features="grid"))
    vectors = grid.encode_images(pictures())
    assert vectors.ndim == 3 and vectors.shape[::2] == (3, grid.dim)
    tower = pooled._model.visual
    side = int(vectors.shape[1] ** 0.5)
    with torch.inference_mode():
        again = tower.attnpool(torch.from_numpy(vectors).transpose(1, 2).unflatten(2, (side, side)))
    np.testing.assert_allclose(again.numpy(), pooled.encode_images(pictures()), atol=1e-4)
    assert grid.image_key != pooled.image_key


def test_batching_changes_nothing_and_no_images_give_no_vectors():
    encoder = timm_encoder()
    together = encoder.encode_images(pictures(5))
    alone = np.concatenate([encoder.encode_images([one]) for one in pictures(5)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(encoder.encode_images([])) == 0


def test_a_grid_of_timm_leaves_the_class_token_out_and_pooled_is_one_vector():
    with torch.device("meta"):
        model = timm.create_model("test_vit", num_classes=0)
    cells = (model.patch_embed.img_size[0] // model.patch_embed.patch_size[0]) ** 2
    assert timm_encoder().encode_images(pictures(2)).shape == (2, cells, model.num_features)
    assert timm_encoder(features="pooled").encode_images(pictures(2)).shape == (2, model.num_features)


@pytest.mark.parametrize("architecture", ["test_vit", "test_resnet"])  # built for one size, and for any
def test_images_have_the_size_that_is_asked_for(architecture):
    usual = timm_encoder(model=architecture)
    larger = timm_encoder(model=architecture, image_size=192)
    assert tuple(larger._preprocess(pictures(1)[0]).shape) == (3, 192, 192)
    assert larger.encode_images(pictures(1)).shape[1] > usual.encode_images(pictures(1)).shape[1]
    assert larger.image_key != usual.image_key
    assert "192 px" in larger.name


def test_random_weights_follow_from_their_seed():
    one, same, other = (timm_encoder(seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert "random weights, seed 1" in one.name


def test_local_weights_with_a_classifier_are_those_of_the_file(tmp_path):
    torch.manual_seed(5)
    model = timm.create_model("test_vit").eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    encoder = timm_encoder(pretrained="yes", weights=str(tmp_path / "w.safetensors"), features="pooled")
    prepared = torch.stack([encoder._preprocess(one) for one in pictures(2)])
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(prepared), pre_logits=True)
    np.testing.assert_allclose(encoder.encode_images(pictures(2)), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "shape"),
    # LiMBeR's: CLIP's ResNet before attention pooling, NF-ResNet50 pooled, BEiT-Large without its class token.
    [("nf_resnet50", (2048,)), ("beit_large_patch16_224", (196, 1024))],
)
def test_grids_of_the_papers_encoders_have_the_published_shapes(architecture, shape):
    with torch.device("meta"):
        model = timm.create_model(architecture, num_classes=0)
        pixels = torch.zeros(1, *timm.data.resolve_model_data_config(model)["input_size"])
        grid = model.forward_intermediates(pixels, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)[0]
        found = model(pixels).shape[1:] if len(shape) == 1 else grid.flatten(2).transpose(1, 2).shape[1:]
    assert tuple(found) == shape


@pytest.mark.slow
def test_the_grid_of_clips_largest_resnet_has_the_published_shape():
    import open_clip

    tower = open_clip.create_model("RN50x16", device="meta").visual
    found = tower.forward_intermediates(torch.zeros(1, 3, 384, 384, device="meta"), indices=1, intermediates_only=True)
    assert found["image_intermediates"][0].flatten(2).transpose(1, 2).shape[1:] == (144, 3072)


@pytest.mark.parametrize(
    "encoder", [timm_encoder, lambda: OpenClipEncoder(make_encoder(batch_size=2, features="grid"))]
)
def test_text_is_refused_with_what_to_do(encoder):
    with pytest.raises(UserError, match=r"encodes images only.*train_on_images\.py"):
        encoder().encode_texts(["a dog"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "nf_resnet5"}, r"timm has no such architecture\. Give .*similar names are .*nf_resnet50"),
        ({"weights": "nowhere.pt"}, r"clip\.weights=nowhere\.pt: there is no such file"),
    ],
)
def test_mistakes_name_the_value(changes, message):
    with pytest.raises(UserError, match=message):
        timm_encoder(**changes)


def test_weights_of_another_architecture_are_refused(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"clip\.weights=.*cannot be loaded into test_vit \(it lacks"):
        timm_encoder(weights=str(tmp_path / "w.safetensors"))
