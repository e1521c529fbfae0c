"""The captioner as it is trained: an image encoder and a decoder, both from random weights, as one model.

Shapes: b images with one text each, *s* pixels per side, l target tokens, v vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from close_transfer.config.train_captioner import TrainCaptionerConfig
from close_transfer.encoders.captioner_encoder import (
    VisionSizes,
    build_vision_transformer,
    normalize_pixels,
    select_vision_sizes,
)
from close_transfer.models.captioner.decoder import CaptionerDecoder, CaptionerDecoderConfig


class CaptionerConfig(PreTrainedConfig):
    """Sizes of a captioner.

    Attributes:
        vision: sizes of the vision transformer.
        decoder: settings of `CaptionerDecoderConfig`.
    """

    model_type = "captioner_with_encoder"

    def __init__(self, vision: VisionSizes | None = None, decoder: dict[str, Any] | None = None, **kwargs: Any) -> None:
        # transformers builds an empty one, to see which values differ from it.
        self.vision: VisionSizes | dict[str, int] = vision or {}
        self.decoder = decoder or {}
        super().__init__(**kwargs)


def build_captioner_config(
    config: TrainCaptionerConfig, vocab_size: int, special_ids: Mapping[str, int | None]
) -> CaptionerConfig:
    """Return the sizes of a captioner.

    Args:
        config: settings of its training.
        vocab_size: number of tokens of its tokenizer.
        special_ids: `pad_token_id`, `eos_token_id` and `decoder_start_token_id`.
    """
    vision = select_vision_sizes(config.captioner)
    return CaptionerConfig(vision, {**config.decoder_settings, "vocab_size": vocab_size, **special_ids})


class Captioner(PreTrainedModel):
    """Image encoder and decoder."""

    config_class = CaptionerConfig
    base_model_prefix = ""
    main_input_name = "pixels"

    def __init__(self, config: CaptionerConfig) -> None:
        """Build both parts; a blind decoder leaves the encoder as it is drawn, untrained."""
        super().__init__(config)
        self.vision = build_vision_transformer(config.vision)  # type: ignore[arg-type]
        self.decoder = CaptionerDecoder(CaptionerDecoderConfig(**config.decoder))
        if self.decoder.config.is_blind:
            self.vision.requires_grad_(False)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Do nothing; each part initialises its weights when it is built."""

    def forward(
        self,
        pixels: UInt8[Tensor, "b s s 3"],
        labels: Int[Tensor, "b l"],
        is_parallel: Bool[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b l v"]:
        """Return logits of every target token; arguments as of `normalize_pixels` and `CaptionerDecoder`."""
        if self.decoder.config.is_blind:
            tokens = torch.zeros(len(labels), 1, self.decoder.config.width, device=labels.device)
        else:
            tokens = self.vision.forward_features(normalize_pixels(pixels))
        outputs = BaseModelOutput(last_hidden_state=tokens)
        return self.decoder(encoder_outputs=outputs, labels=labels, is_parallel=is_parallel).logits


# Without it, transformers warns about a model of an unknown type when it loads the tokenizer of a checkpoint.
AutoConfig.register(CaptionerConfig.model_type, CaptionerConfig)
