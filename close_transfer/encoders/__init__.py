"""Frozen encoders: text and images in, vectors of one space out."""

from close_transfer.config.components import OpenClipConfig, TimmConfig
from close_transfer.encoders.encoder import Encoder
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder
from close_transfer.encoders.precomputed import PrecomputedEncoder
from close_transfer.encoders.timm_encoder import TimmEncoder

# Vectors from files cannot encode anything new, so they are asked for rows instead.
AnyEncoder = Encoder | PrecomputedEncoder

__all__ = ["AnyEncoder", "Encoder", "OpenClipEncoder", "PrecomputedEncoder", "TimmEncoder", "load_encoder"]


def load_encoder(config: OpenClipConfig | TimmConfig, device: str) -> Encoder:
    """The encoder of these settings, with its weights.

    Raises:
        UserError: if it cannot be built or its weights cannot be had.
    """
    return OpenClipEncoder(config, device) if isinstance(config, OpenClipConfig) else TimmEncoder(config, device)
