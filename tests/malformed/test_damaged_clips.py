"""Tests with CLIPs whose config describes a larger model than their weights: refused in a sentence at once."""

import json
import shutil
import time
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from close_transfer.encoders.open_clip_loading import PICTUREBOOK_FOLDER
from tests.malformed.test_hostile_models import load_clip


@pytest.mark.parametrize("values", [{"layers": 10**6}, {"width": 10**7}, {"vocab_size": 10**12}])
def test_clip_larger_than_its_weights(values):
    clip = Path(shutil.copytree(PICTUREBOOK_FOLDER, "clip"))
    (clip / "checksums.json").unlink()
    config = json.loads((clip / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= values
    (clip / "open_clip_config.json").write_text(json.dumps(config))
    start = time.monotonic()
    with pytest.raises(UserError, match="describes a larger model than its weights"):
        load_clip(clip)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ("depth256", "describes a larger model than its weights, which hold 153 tensors"),
        ("width16384", r"describes a larger model than its weights, which hold [\d,]+ numbers"),
        ("depth999999999", r"depth is not between 1 and 256\. Restore"),
    ],
)
def test_vision_transformer_of_a_name_larger_than_its_weights(size, reason):
    clip = Path(shutil.copytree(PICTUREBOOK_FOLDER, "clip"))
    (clip / "checksums.json").unlink()
    config = json.loads((clip / "open_clip_config.json").read_text())
    sizes = {"depth": "depth1", "width": "width8"} | {size.rstrip("0123456789"): size}
    name = f"captioner_vit_image8_patch8_{sizes['width']}_{sizes['depth']}_heads1"
    config["model_cfg"]["vision_cfg"] = {"image_size": 8, "timm_model_name": name}
    (clip / "open_clip_config.json").write_text(json.dumps(config))
    start = time.monotonic()
    with pytest.raises(UserError, match=reason):
        load_clip(clip)
    assert time.monotonic() - start < 5
