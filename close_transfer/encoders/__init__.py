"""Frozen encoders: text and images in, vectors of one space out."""

from collections.abc import Callable
from typing import Any

from close_transfer.config.components import EncoderSettings
from close_transfer.encoders.encoder import Encoder
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder
from close_transfer.encoders.precomputed import PrecomputedEncoder
from close_transfer.encoders.timm_encoder import TimmEncoder

# What builds an encoder from its settings and a device, by the kind that the settings name.
ENCODERS: dict[str, Callable[[Any, str], Encoder]] = {
    "open_clip": OpenClipEncoder,
    "timm": TimmEncoder,
}

# Vectors from files cannot encode anything new, so they are asked for rows instead.
AnyEncoder = Encoder | PrecomputedEncoder

__all__ = ["ENCODERS", "AnyEncoder", "Encoder", "OpenClipEncoder", "PrecomputedEncoder", "TimmEncoder", "load_encoder"]


def load_encoder(config: EncoderSettings, device: str) -> Encoder:
    """Return the encoder of these settings, with its weights; `config.encodes_images` must be true.

    Raises:
        UserError: if it cannot be built or its weights cannot be had.
    """
    return ENCODERS[config.kind](config, device)
