"""Frozen image encoders as image towers of open_clip, which a text tower is trained against (LiT, arXiv 2111.07991).

The tower has no projection, so the folder of both towers gives the same image vectors as the encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.timm_model import TimmModel
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from close_transfer.config.components import CaptionerEncoderConfig, EncoderSettings, OpenClipConfig, TimmConfig
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError, get_first_line
from close_transfer.encoders.captioner_encoder import load_vision_transformer
from close_transfer.encoders.captioner_tower import PREPROCESSING, describe_tower, register_tower_name
from close_transfer.encoders.image_batches import ImageOnlyEncoder
from close_transfer.encoders.image_reading import ImageReader
from close_transfer.encoders.open_clip_loading import load_clip, resolve_clip_name
from close_transfer.encoders.out_of_memory import explain_too_many_images
from close_transfer.encoders.precision import cast_products, list_key_parts, resolve_precision
from close_transfer.encoders.timm_encoder import load_timm_model, resolve_preprocessing
from close_transfer.encoders.weights_fingerprint import fingerprint_weights

_TOLERANCE = 1e-4  # of vectors that the same network computes along another path


@dataclass(frozen=True)
class LockedTower:
    """Image tower of open_clip with the weights of a frozen encoder.

    Attributes:
        name: name of the encoder, for users.
        visual: the tower.
        embed_dim: width of its vectors.
        vision: its vision_cfg of an open_clip_config.json.
        preprocessing: its preprocess_cfg.
        quick_gelu: True for the activation of OpenAI's models, which both towers then have.
        note: sentence on what differs from the encoder; empty if nothing does.
    """

    name: str
    visual: nn.Module
    embed_dim: int
    vision: dict[str, Any]
    preprocessing: dict[str, Any]
    quick_gelu: bool = False
    note: str = ""


def load_locked_tower(config: EncoderSettings) -> LockedTower:
    """Load an encoder as an image tower of open_clip, on the CPU.

    Raises:
        UserError: if the encoder cannot be loaded, or open_clip has no such tower.
    """
    return _LOADERS[config.kind](config)


def _load_captioner(config: CaptionerEncoderConfig) -> LockedTower:
    model, sizes = load_vision_transformer(config.model)
    vision = describe_tower(sizes, "none")
    register_tower_name(vision["timm_model_name"])
    visual = _wrap(vision, sizes["width"])
    visual.trunk.load_state_dict(model.state_dict())
    return LockedTower(f"captioner {config.model}", visual, sizes["width"], vision, dict(PREPROCESSING))


def _load_open_clip(config: OpenClipConfig) -> LockedTower:
    # Without the tokenizer of its text tower, which may not be here.
    model = load_clip(config.model_copy(update={"features": "grid"}), "cpu").model
    described = open_clip.get_model_config(resolve_clip_name(config))
    if "multimodal_cfg" in described:
        raise UserError(
            f"clip.model={config.model}: the image tower of a captioning model of open_clip (CoCa) cannot be locked, because its "
            "output is not one vector. Give another encoder"
        )
    loaded = model.visual.preprocess_cfg
    preprocessing = {key: loaded[key] for key in ("mean", "std", "interpolation", "resize_mode", "fill_color")}
    vision = {key: value for key, value in described["vision_cfg"].items() if key != "timm_model_pretrained"}
    vision |= {"timm_model_pretrained": False} if "timm_model_name" in vision else {}
    quick_gelu = any(isinstance(part, QuickGELU) for part in model.visual.modules())
    return LockedTower(config.model, model.visual, described["embed_dim"], vision, preprocessing, quick_gelu)


def _load_timm(config: TimmConfig) -> LockedTower:
    model = load_timm_model(config)
    data = resolve_preprocessing(config, model)
    size = data["input_size"][-1]
    pool = getattr(model, "global_pool", None)
    vision = {
        "image_size": size,
        "timm_model_name": config.model,
        "timm_model_pretrained": False,
        "timm_pool": pool if isinstance(pool, str) else "avg",
        "timm_proj": "none",
    }
    problem = f"clip.model={config.model}: open_clip cannot hold this image encoder"
    if data["interpolation"] not in ("bicubic", "bilinear"):
        raise UserError(
            f"{problem}, which scales images by {data['interpolation']} interpolation. Give another encoder"
        )
    image = torch.randn(1, *data["input_size"], generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            expected = model.eval()(image)
            visual = _wrap(vision, expected.shape[-1]).eval()
            visual.trunk.load_state_dict(model.state_dict())
            is_equal = torch.allclose(visual(image), expected, atol=_TOLERANCE, rtol=_TOLERANCE)
    except Exception as error:  # of many kinds: sizes and arguments that timm takes and open_clip does not
        # open_clip builds a vision transformer of timm for its own size of image only.
        advice = "Leave clip.image_size out" if config.image_size else "Give another encoder"
        raise UserError(f"{problem} ({get_first_line(error)}). {advice}") from error
    if not is_equal:
        raise UserError(f"{problem}, whose vectors it pools in another way. Give another encoder")
    squashes = data["crop_mode"] == "squash"
    preprocessing = {
        "mean": list(data["mean"]),
        "std": list(data["std"]),
        "interpolation": data["interpolation"],
        "resize_mode": "squash" if squashes else "shortest",
    }
    note = (
        f"note: timm scales images for {config.model} to {int(size / data['crop_pct'])} pixels and cuts out {size}. open_clip "
        f"cannot, so images are scaled to {size}, and their vectors differ from those of clip=timm"
    )
    is_cropped = data["crop_pct"] != 1
    return LockedTower(config.model, visual, expected.shape[-1], vision, preprocessing, note=note if is_cropped else "")


def _wrap(vision: dict[str, Any], embed_dim: int) -> TimmModel:
    return TimmModel(
        vision["timm_model_name"],
        embed_dim,
        image_size=vision["image_size"],
        pool=vision["timm_pool"],
        proj=vision["timm_proj"],
    )


_LOADERS: dict[str, Callable[[Any], LockedTower]] = {
    "captioner": _load_captioner,
    "open_clip": _load_open_clip,
    "timm": _load_timm,
}


class LockedTowerEncoder(ImageOnlyEncoder):
    """Frozen encoder that computes an image's vector with a tower, as open_clip will with the saved folder."""

    def __init__(
        self, tower: LockedTower, config: OpenClipConfig | TimmConfig | CaptionerEncoderConfig, device: str
    ) -> None:
        """Take a tower, and the precision and batch size of its settings."""
        self._model = tower.visual.to(device).eval().requires_grad_(False)
        self._device = device
        size = tower.vision["image_size"]
        preprocess = image_transform_v2(PreprocessCfg(size=size, **tower.preprocessing), is_train=False)
        self._reader = ImageReader(preprocess, config.batch_size, device)
        self.precision = resolve_precision(config.precision, device)
        self.name, self.dim = tower.name, tower.embed_dim
        self.fingerprint = fingerprint_weights(tower.visual)
        variant = ["quick_gelu"] if tower.quick_gelu else []
        self.image_key = fingerprint([self.fingerprint, repr(preprocess), *variant, *list_key_parts(self.precision)])

    @explain_too_many_images
    @torch.inference_mode()
    def _encode(self, images: Tensor) -> Tensor:
        with cast_products(self.precision, self._device):
            return self._model(images)
