"""Frozen encoders: text and pictures in, vectors of one space out."""

from close_transfer.encoders.encoder import Encoder
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder
from close_transfer.encoders.precomputed import PrecomputedEncoder

# Vectors from files cannot encode anything new, so they are asked for rows instead.
AnyEncoder = Encoder | PrecomputedEncoder

__all__ = ["AnyEncoder", "Encoder", "OpenClipEncoder", "PrecomputedEncoder"]
