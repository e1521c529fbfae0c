"""Masked autoencoder (MAE, arXiv 2111.06377): an image encoder that sees some patches, and a decoder of the hidden ones.

The encoder reads only the visible patches. A light decoder, thrown away after the training, reads the encoder's tokens and
a learned token for each hidden patch, and predicts the hidden patches' pixels.

Shapes: b images, *s* pixels per side, n patches, v visible and h hidden ones, p pixel values per patch, d width.
"""

from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from close_transfer.encoders.captioner_encoder import VisionSizes, build_vision_transformer, normalize_pixels

_SMALLEST_VARIANCE = 1e-6  # MAE's; a patch of one colour has none
_MASK_STD = 0.02  # MAE's


class MaskedAutoencoderConfig(PreTrainedConfig):
    """Sizes of a masked autoencoder.

    Attributes:
        vision: sizes of the vision transformer.
        num_visible: number of patches of an image that the encoder sees.
        decoder_depth: layers of the decoder, which are as wide as the encoder's.
    """

    model_type = "masked_autoencoder_with_encoder"

    def __init__(
        self, vision: VisionSizes | None = None, num_visible: int = 1, decoder_depth: int = 2, **kwargs: Any
    ) -> None:
        # transformers builds an empty one, to see which values differ from it.
        self.vision: VisionSizes | dict[str, int] = vision or {}
        self.num_visible, self.decoder_depth = num_visible, decoder_depth
        super().__init__(**kwargs)


def cut_into_patches(pixels: UInt8[Tensor, "b s s 3"], patch_size: int) -> Float[Tensor, "b n p"]:
    """Return the patches of images row by row, as the encoder reads them, with pixels from -1 to 1."""
    rows = normalize_pixels(pixels).unflatten(2, (-1, patch_size)).unflatten(4, (-1, patch_size))
    return rows.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def normalize_patches(patches: Float[Tensor, "b n p"]) -> Float[Tensor, "b n p"]:
    """Return patches with mean 0 and variance 1 each, the targets of the paper's best version."""
    mean, variance = patches.mean(dim=-1, keepdim=True), patches.var(dim=-1, keepdim=True)
    return (patches - mean) / (variance + _SMALLEST_VARIANCE).sqrt()


def select_patches(values: Float[Tensor, "b n d"], numbers: Int[Tensor, "b v"]) -> Float[Tensor, "b v d"]:
    """Return the values of some patches, which differ between images."""
    return values.gather(1, numbers.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


class MaskedAutoencoder(PreTrainedModel):
    """Image encoder and light decoder."""

    config_class = MaskedAutoencoderConfig
    base_model_prefix = ""
    main_input_name = "pixels"

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        """Build the encoder first, so that a seed gives it the weights that it gives a captioner's."""
        super().__init__(config)
        self.vision = build_vision_transformer(config.vision)  # type: ignore[arg-type]
        self.decoder = _Decoder(config.vision, config.decoder_depth)  # type: ignore[arg-type]
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing; each part initialises its weights when it is built."""

    def forward(self, pixels: UInt8[Tensor, "b s s 3"], order: Int[Tensor, "b n"]) -> Float[Tensor, "b h p"]:
        """Return predictions of the hidden patches, normalised, in their order.

        Args:
            pixels: images.
            order: numbers of all patches of each image; the first `num_visible` are visible.
        """
        vision, num_visible = self.vision, self.config.num_visible
        tokens = vision.patch_embed(normalize_pixels(pixels)) + vision.pos_embed
        tokens = vision.norm(vision.blocks(select_patches(tokens, order[:, :num_visible])))
        return self.decoder(tokens, order)[:, num_visible:]


class _Decoder(nn.Module):
    """Transformer from the tokens of visible patches to the pixels of all."""

    def __init__(self, vision: VisionSizes, depth: int) -> None:
        super().__init__()
        width, patch_size = vision["width"], vision["patch_size"]
        self.input = nn.Linear(width, width)
        self.mask = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty((vision["image_size"] // patch_size) ** 2, width))
        self.layers = nn.Sequential(*(Block(width, vision["heads"], qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, patch_size**2 * 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.mask, std=_MASK_STD)
        nn.init.normal_(self.positions, std=width**-0.5)  # as the encoder's

    def forward(self, tokens: Float[Tensor, "b v d"], order: Int[Tensor, "b n"]) -> Float[Tensor, "b n p"]:
        """Return predictions of all patches, in the given order."""
        visible = self.input(tokens)
        num_hidden = order.shape[1] - tokens.shape[1]
        hidden = self.mask.to(visible.dtype).expand(len(tokens), num_hidden, -1)
        # Only its position says which patch a token is of, so nothing needs to be sorted.
        return self.head(self.norm(self.layers(torch.cat([visible, hidden], dim=1) + self.positions[order])))


# Without it, transformers warns about a model of an unknown type when it loads the tokenizer of a checkpoint.
AutoConfig.register(MaskedAutoencoderConfig.model_type, MaskedAutoencoderConfig)
