"""Frozen image encoders of `timm`, which have no text tower; LiMBeR compares CLIP with them."""

import difflib
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor

from close_transfer.config.components import TimmConfig
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError, get_first_line
from close_transfer.encoders.encoder import flatten_grid
from close_transfer.encoders.image_batches import ImageOnlyEncoder
from close_transfer.encoders.image_reading import ImageReader
from close_transfer.encoders.open_clip_loading import RANDOM
from close_transfer.encoders.out_of_memory import explain_too_many_images
from close_transfer.encoders.precision import cast_products, list_key_parts, resolve_precision
from close_transfer.encoders.weights_fingerprint import fingerprint_weights


def create_timm_model(config: TimmConfig, *, pretrained: bool) -> torch.nn.Module:
    """Build an architecture without its classifier, for the image size of the settings."""
    has_fixed_size = getattr(timm.get_pretrained_cfg(config.model), "fixed_input_size", False)
    # Models with positions are built for one size. The others take any size, and most of them know no such argument.
    size: dict[str, Any] = {"img_size": config.image_size} if has_fixed_size and config.image_size else {}
    return timm.create_model(config.model, pretrained=pretrained, num_classes=0, **size)


def resolve_preprocessing(config: TimmConfig, model: torch.nn.Module) -> dict[str, Any]:
    """Return how the model's images are prepared, as `timm.data.create_transform` takes it."""
    return timm.data.resolve_model_data_config(model, args={"img_size": config.image_size})


def load_timm_model(config: TimmConfig) -> torch.nn.Module:
    """Load a model without its classifier, on the CPU.

    Raises:
        UserError: for an unknown architecture, an unusable file, or an unreachable hub.
    """
    architecture = config.model.partition(".")[0]  # timm's names are ARCHITECTURE or ARCHITECTURE.TAG
    if not timm.is_model(architecture):
        suggestions = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.4)
        raise UserError(
            f"clip.model={config.model}: timm has no such architecture. Give one of those that scripts/list_encoders.py "
            f"lists; similar names are {', '.join(suggestions) or '(none)'}"
        )
    if config.weights and not Path(config.weights).is_file():
        raise UserError(f"clip.weights={config.weights}: there is no such file. Give a .safetensors or .pt file")
    torch.manual_seed(config.seed)
    try:
        downloads = not config.weights and config.pretrained != RANDOM
        model = create_timm_model(config, pretrained=downloads)
        if config.weights:
            # The file may contain a classifier's last layer, which is not used.
            missing = timm.models.load_checkpoint(model, config.weights, strict=False, weights_only=True).missing_keys
            if missing:
                raise ValueError(f"it lacks {missing[0]}")
    except Exception as error:
        reason = get_first_line(error)
        if config.weights:
            raise UserError(
                f"clip.weights={config.weights}: cannot be loaded into {config.model} ({reason}). Give weights of that "
                "architecture as .safetensors, or a .pt file that holds tensors only"
            ) from error
        raise UserError(
            f"clip.model={config.model}: the weights could not be downloaded ({reason}). Connect to the hub once, or "
            "download the file elsewhere and give clip.weights=FILE"
        ) from error
    return model


class TimmEncoder(ImageOnlyEncoder):
    """Frozen `timm` model that returns one vector per image, or a grid of vectors."""

    def __init__(self, config: TimmConfig, device: str = "cpu") -> None:
        """Build the model and load its weights.

        Raises:
            UserError: for an unknown architecture, an unusable file, or an unreachable hub.
        """
        model = load_timm_model(config)
        self._preprocess = timm.data.create_transform(**resolve_preprocessing(config, model), is_training=False)
        self._model = model.to(device).eval().requires_grad_(False)
        self._device = device
        self.precision = resolve_precision(config.precision, device)
        self._reader = ImageReader(self._preprocess, config.batch_size, device)
        self._is_grid = config.features == "grid"
        source = Path(config.weights).name if config.weights else None
        source = source or (f"random weights, seed {config.seed}" if config.pretrained == RANDOM else None)
        size = f", {config.image_size} px" if config.image_size else ""
        self.name = config.model + (f" ({source})" if source else "") + size + (", grid" if self._is_grid else "")
        self.fingerprint = fingerprint_weights(model)
        self.image_key = fingerprint(
            [self.fingerprint, repr(self._preprocess), config.features, *list_key_parts(self.precision)]
        )
        self.dim = int(self.encode_images([Image.new("RGB", (8, 8))]).shape[-1])

    @explain_too_many_images
    @torch.inference_mode()
    def _encode(self, images: Tensor) -> Tensor:
        with cast_products(self.precision, self._device):
            if not self._is_grid:
                return self._model(images)  # pooled, because the model was built without a classifier
            (grid,) = self._model.forward_intermediates(  # type: ignore[operator]
                images, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
            )
            return flatten_grid(grid)
