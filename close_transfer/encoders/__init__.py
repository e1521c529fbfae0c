"""Frozen encoders, which map texts and images to vectors of one space."""

from collections.abc import Callable
from typing import Any

from close_transfer.config.components import EncoderSettings
from close_transfer.encoders.captioner_encoder import CaptionerEncoder
from close_transfer.encoders.encoder import Encoder
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder
from close_transfer.encoders.precomputed import PrecomputedEncoder
from close_transfer.encoders.timm_encoder import TimmEncoder

# Constructors of encoders from their settings and a device, by the `kind` of the settings.
ENCODERS: dict[str, Callable[[Any, str], Encoder]] = {
    "open_clip": OpenClipEncoder,
    "timm": TimmEncoder,
    "captioner": CaptionerEncoder,
}

# Precomputed vectors cannot encode anything new; their rows are looked up instead.
AnyEncoder = Encoder | PrecomputedEncoder

__all__ = ["ENCODERS", "AnyEncoder", "Encoder", "OpenClipEncoder", "PrecomputedEncoder", "TimmEncoder", "load_encoder"]


def load_encoder(config: EncoderSettings, device: str) -> Encoder:
    """Load the encoder of these settings with its weights; `config.encodes_images` must be true.

    Raises:
        UserError: if it cannot be built or its weights are not available.
    """
    return ENCODERS[config.kind](config, device)
