"""The encoder of a captioner as a frozen encoder, from the folder that holds it."""

import numpy as np
import pytest
import torch
from PIL import Image

from close_transfer.config.components import CaptionerEncoderConfig
from close_transfer.config.encoder_folder import prefer_own_encoder
from close_transfer.core.errors import UserError
from close_transfer.encoders.captioner_encoder import (
    CaptionerEncoder,
    build_vision_transformer,
    copy_encoder,
    normalize_pixels,
    save_encoder,
    scale_to_pixels,
)

SIZES = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2}


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    model = build_vision_transformer(SIZES).eval()
    save_encoder(tmp_path / "cap" / "encoder", model, SIZES)
    return model


def load(folder, **changed):
    given = {"kind": "captioner", "model": str(folder), "features": "pooled", "precision": "fp32", "batch_size": 2}
    return CaptionerEncoder(CaptionerEncoderConfig(**given | changed))


def make_images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in range(3)]


def test_grid_and_mean_are_those_of_the_trained_network(network, tmp_path):
    images = make_images()
    pixels = torch.from_numpy(np.stack([scale_to_pixels(image, 8) for image in images]))
    with torch.no_grad():
        expected = network.forward_features(normalize_pixels(pixels))
        mean = network(normalize_pixels(pixels))
    pooled, grid = load(tmp_path / "cap"), load(tmp_path / "cap", features="grid")
    assert grid.encode_images(images).shape == (3, 4, 8)
    np.testing.assert_allclose(grid.encode_images(images), expected, atol=1e-5)
    np.testing.assert_allclose(pooled.encode_images(images), mean, atol=1e-5)
    assert pooled.dim == grid.dim == 8
    assert pooled.fingerprint == grid.fingerprint and pooled.image_key != grid.image_key


def test_a_captioners_folder_and_its_encoders_are_the_same(network, tmp_path):
    assert load(tmp_path / "cap").image_key == load(tmp_path / "cap" / "encoder").image_key


def test_a_models_own_encoder_is_preferred_and_can_be_copied(network, tmp_path):
    recorded = load(tmp_path / "cap")
    copy_encoder(str(tmp_path / "cap"), tmp_path / "copy" / "encoder")
    settings = CaptionerEncoderConfig(kind="captioner", model="gone", features="grid", precision="fp32", batch_size=2)
    own = prefer_own_encoder(settings, tmp_path / "copy")
    assert CaptionerEncoder(own).fingerprint == recorded.fingerprint
    assert prefer_own_encoder(settings, tmp_path / "elsewhere") == settings


def test_there_is_no_text_tower(network, tmp_path):
    encoder = load(tmp_path / "cap")
    for call in (encoder.encode_texts, encoder.encode_text_groups, encoder.count_cut):
        with pytest.raises(UserError, match="encodes images only"):
            call(["a"])


def test_a_missing_or_damaged_folder_is_named(network, tmp_path):
    with pytest.raises(
        UserError,
        match=r"there is no image encoder\. Give the folder .*train_captioner\.py or scripts/train_image_encoder\.py",
    ):
        load(tmp_path / "elsewhere")
    with (tmp_path / "cap" / "encoder" / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path / "cap")


def test_other_sizes_than_the_weights_are_refused(network, tmp_path):
    save_encoder(tmp_path / "other", network, SIZES | {"width": 16})
    with pytest.raises(UserError, match=r"but encoder\.json describes"):
        load(tmp_path / "other")


def test_an_image_size_between_two_numbers_of_patches_is_refused(network, tmp_path):
    save_encoder(tmp_path / "other", network, SIZES | {"image_size": 10})
    with pytest.raises(UserError, match=r"encoder\.json: is damaged \(image_size=10 is not a multiple of patch_size\)"):
        load(tmp_path / "other")


def test_without_checksums_changes_are_not_noticed_and_a_note_says_so(network, tmp_path, caplog):
    folder = tmp_path / "cap" / "encoder"
    (folder / "checksums.json").unlink()
    load(folder)
    assert "so changes of its files since training are not noticed" in caplog.text
    (folder / "model.safetensors").unlink()
    for use in (load, lambda name: copy_encoder(str(name), tmp_path / "copy")):
        with pytest.raises(UserError, match=r"model\.safetensors: is damaged \(it is missing\)"):
            use(folder)


def test_a_huge_depth_is_refused_before_building(network, tmp_path):
    save_encoder(tmp_path / "other", network, SIZES | {"depth": 10**9})
    with pytest.raises(UserError, match="depth=1000000000, but the weights hold"):
        load(tmp_path / "other")


def test_pixels_reach_from_minus_1_to_1():
    pixels = torch.tensor([[[[0, 127, 255]]]], dtype=torch.uint8)
    assert normalize_pixels(pixels).flatten().tolist() == pytest.approx([-1, 127 / 127.5 - 1, 1])
