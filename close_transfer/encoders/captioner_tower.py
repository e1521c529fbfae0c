"""Vision transformers of a captioner's kind as image towers of open_clip.

open_clip builds an image tower of timm from its name alone, but these have free sizes. So the name carries the sizes, such as
`captioner_vit_image64_patch16_width128_depth6_heads4`, and is registered with timm before open_clip reads it. This package does
so itself. In other code, before `open_clip.create_model_from_pretrained("local-dir:FOLDER")`:

    from close_transfer.encoders.captioner_tower import register_tower
    register_tower("FOLDER")
"""

import re
from pathlib import Path
from typing import Any

import timm
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

from close_transfer.core.atomic_files import damaged_file_error, read_json
from close_transfer.core.errors import UserError
from close_transfer.encoders.captioner_encoder import VisionSizes, build_vision_transformer

_NAME = re.compile(
    r"captioner_vit_image(?P<image_size>\d+)_patch(?P<patch_size>\d+)"
    r"_width(?P<width>\d+)_depth(?P<depth>\d+)_heads(?P<heads>\d+)",
    re.ASCII,
)
# A name of others may ask for any size. These bounds are above every published vision transformer.
_LARGEST = {"image_size": 4096, "patch_size": 4096, "width": 16384, "depth": 256, "heads": 1024}

# As `captioner_encoder` scales images: to a square, from -1 to 1.
PREPROCESSING = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def name_tower(sizes: VisionSizes) -> str:
    """Return timm's name of a vision transformer of these sizes."""
    return (
        f"captioner_vit_image{sizes['image_size']}_patch{sizes['patch_size']}"
        f"_width{sizes['width']}_depth{sizes['depth']}_heads{sizes['heads']}"
    )


def describe_tower(sizes: VisionSizes, projection: str) -> dict[str, Any]:
    """Return the vision_cfg of an open_clip_config.json; `projection` is "linear" or "none", for the mean of the tokens."""
    return {
        "image_size": sizes["image_size"],
        "timm_model_name": name_tower(sizes),
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": projection,
    }


def register_tower(folder: str | Path) -> None:
    """Register the image tower of an open_clip folder with timm, if it is one of a captioner's kind.

    Raises:
        UserError: if its open_clip_config.json is damaged, or asks for sizes that cannot be built.
    """
    path = Path(folder) / "open_clip_config.json"
    config = read_json(path)
    model = config.get("model_cfg") if isinstance(config, dict) else None
    vision = model.get("vision_cfg") if isinstance(model, dict) else None
    if not isinstance(vision, dict):
        raise damaged_file_error(path, "model_cfg.vision_cfg is missing")
    register_tower_name(vision.get("timm_model_name"))


def register_tower_name(name: object) -> None:
    """Register timm's name of an image tower, if it is one of a captioner's kind; other values are ignored.

    Raises:
        UserError: if it asks for sizes that cannot be built.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None or not isinstance(name, str) or timm.is_model(name):
        return
    _check_sizes(name, match)
    sizes = VisionSizes(**{key: int(match[key]) for key in _LARGEST})  # type: ignore[typeddict-item]

    def build(pretrained: bool = False, **settings: Any) -> VisionTransformer:
        return _build(sizes, pretrained, settings)

    build.__name__ = build.__qualname__ = name
    register_model(build)


def _check_sizes(name: str, match: re.Match[str]) -> None:
    for key, largest in _LARGEST.items():
        # Digits are counted first: Python refuses to read a number of thousands of them.
        if len(match[key]) > len(str(largest)) or not 1 <= int(match[key]) <= largest:
            raise UserError(
                f"{name[:200]}: {key} is not between 1 and {largest}. Restore open_clip_config.json from a copy"
            )
    for key, divisor in (("image_size", "patch_size"), ("width", "heads")):
        if int(match[key]) % int(match[divisor]):
            raise UserError(f"{name}: {divisor} does not divide {key}. Restore open_clip_config.json from a copy")


def _build(sizes: VisionSizes, pretrained: bool, settings: dict[str, Any]) -> VisionTransformer:
    """Build the network as open_clip asks for it: without a classifier, and with the mean of the tokens as output."""
    # timm gives these to every model; they concern weights to download, of which there are none.
    own = {
        key: value
        for key, value in settings.items()
        if key not in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    }
    allowed = {"num_classes": 0, "global_pool": "avg"}
    if pretrained or any(allowed.get(key) != value for key, value in own.items()):
        raise ValueError(f"{name_tower(sizes)} takes no other settings than its sizes, not {own}")
    model = build_vision_transformer(sizes)
    model.default_cfg = model.pretrained_cfg = {}  # type: ignore[assignment]  # open_clip looks for a size of a grid there
    return model
