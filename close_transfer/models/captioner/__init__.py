"""Captioners that learn to see by writing captions (Cap and CapPa, arXiv 2306.07915): image encoder and decoder."""

from close_transfer.models.captioner.captioner import Captioner, CaptionerConfig, build_captioner_config
from close_transfer.models.captioner.decoder import CaptionerDecoder, CaptionerDecoderConfig

__all__ = ["Captioner", "CaptionerConfig", "CaptionerDecoder", "CaptionerDecoderConfig", "build_captioner_config"]
