"""The config.json of a saved model: complete, or an error that names the file and the field."""

import json
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from close_transfer.models.network import TransferNetwork
from close_transfer.models.saved_config import check_saved_config

WHOLE = {
    "encoder": {"name": "ViT-B-32 (openai)", "dim": 512, "fingerprint": "f", "config": {"kind": "open_clip"}},
    "adapter": [{"name": "gaussian"}],
    "mapper": {"name": "linear", "num_tokens": 4, "num_constant_tokens": 0},
    "noise": {"std": 0.1, "variance": 0.01},
    "task": {"name": "captioning", "max_prompt_tokens": 8, "max_target_tokens": 12, "num_beams": 3, "labels": []},
    "data_regime": "T0",
    "lm": {"model_type": "t5", "d_model": 16},
    "text_format": {"kind": "encoder-decoder", "before": []},
    "base_model": None,
    "statistics": None,
    "transformers_version": "5",
}


def test_a_whole_one_is_taken():
    Path("config.json").write_text(json.dumps(WHOLE))
    check_saved_config(Path("config.json"))


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        ({"encoder": {}}, r"encoder\.name"),
        ({"encoder": WHOLE["encoder"] | {"dim": "512"}}, r"encoder\.dim"),
        ({"adapter": {}}, "adapter"),
        ({"adapter": [{}]}, r"adapter\.0\.name"),
        ({"mapper": {"num_tokens": 4}}, r"mapper\.name"),
        ({"noise": {"std": None}}, r"noise\.std"),
        ({"task": {"name": "vqa"}}, r"task\.max_prompt_tokens"),
        ({"data_regime": "T9"}, "data_regime"),
        ({"lm": []}, "lm"),
        ({"text_format": {"kind": "other", "before": []}}, r"text_format\.kind"),
        ({"base_model": {"name": "t5-base"}}, r"base_model\.folder"),
        ({"statistics": {"data": "coco"}}, r"statistics\.split"),
    ],
)
def test_a_damaged_one_is_refused_with_its_field(damage, where):
    Path("config.json").write_text(json.dumps(WHOLE | damage))
    with pytest.raises(UserError, match=rf"config\.json: is damaged \({where}: .*Restore it from a copy"):
        TransferNetwork.from_pretrained(".")


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_what_is_no_object_is_refused(content):
    Path("config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json: is damaged"):
        TransferNetwork.from_pretrained(".")
