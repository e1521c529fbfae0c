"""Vision transformers of free sizes as image towers of open_clip."""

import json

import open_clip
import pytest
import timm
import torch

from close_transfer.core.errors import UserError
from close_transfer.encoders.captioner_encoder import build_vision_transformer
from close_transfer.encoders.captioner_tower import describe_tower, name_tower, register_tower, register_tower_name

SIZES = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2}
NAME = "captioner_vit_image8_patch4_width8_depth1_heads2"


def test_the_name_carries_the_sizes():
    assert name_tower(SIZES) == NAME
    register_tower_name(NAME)
    register_tower_name(NAME)  # again, without a warning of timm
    model = timm.create_model(NAME, num_classes=0, global_pool="avg")
    model.load_state_dict(build_vision_transformer(SIZES).state_dict())
    for settings in ({"pretrained": True}, {"num_classes": 3}, {"drop_path_rate": 0.1}, {"global_pool": "token"}):
        with pytest.raises(ValueError, match="takes no other settings"):
            timm.create_model(NAME, **settings)


def test_open_clip_builds_it_with_and_without_a_projection():
    register_tower_name(NAME)
    text = {"context_length": 4, "vocab_size": 9, "width": 8, "heads": 2, "layers": 1}
    for projection, width in (("linear", 5), ("none", 8)):
        clip = open_clip.CustomTextCLIP(width, describe_tower(SIZES, projection), text).eval()
        assert clip.encode_image(torch.zeros(2, 3, 8, 8)).shape == (2, width)


def test_other_code_registers_the_tower_of_a_folder(tmp_path):
    sizes = SIZES | {"depth": 2}
    config = {"model_cfg": {"vision_cfg": describe_tower(sizes, "none")}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    register_tower(tmp_path)
    assert timm.is_model(name_tower(sizes))
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"damaged \(model_cfg\.vision_cfg is missing\)"):
        register_tower(tmp_path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (NAME.replace("width8", "width" + "9" * 5000), "width is not between 1 and 16384"),
        (NAME.replace("depth1", "depth1000000000"), "depth is not between 1 and 256"),
        (NAME.replace("patch4", "patch0"), "patch_size is not between"),
        (NAME.replace("patch4", "patch3"), "patch_size does not divide image_size"),
        (NAME.replace("heads2", "heads3"), "heads does not divide width"),
    ],
)
def test_impossible_sizes_are_refused_before_building(name, problem):
    with pytest.raises(UserError, match=problem) as caught:
        register_tower_name(name)
    assert len(str(caught.value)) < 400 and not timm.is_model(name)


@pytest.mark.parametrize("name", [None, 3, "resnet18", NAME + "x", "captioner_vit_image²_patch1_width1_depth1_heads1"])
def test_other_names_are_left_to_timm(name):
    register_tower_name(name)
    assert not isinstance(name, str) or timm.is_model(name) == (name == "resnet18")
