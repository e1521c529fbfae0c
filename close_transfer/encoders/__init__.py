"""Frozen encoders: text and pictures in, vectors of one space out."""

from close_transfer.encoders.encoder import Encoder
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder
from close_transfer.encoders.precomputed import PrecomputedEncoder

__all__ = ["Encoder", "OpenClipEncoder", "PrecomputedEncoder"]
