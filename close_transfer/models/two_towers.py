"""Text tower of open_clip and, if it is trained too, an image tower: the two that a contrastive loss compares.

Shapes: b texts with their images, l tokens, *s* pixels per side, d width of the vectors.
"""

import math
from typing import Any

import open_clip
import torch
from jaxtyping import Float, Int
from open_clip.transformer import QuickGELU, TextTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from close_transfer.encoders.captioner_encoder import VisionSizes, build_vision_transformer, normalize_pixels

_INITIAL_TEMPERATURE = 0.07  # as in open_clip
_MAX_LOGIT_SCALE = math.log(100)  # open_clip limits the scale to 100 after each step


class TwoTowersConfig(PreTrainedConfig):
    """Sizes of the towers.

    Attributes:
        text: text_cfg of an open_clip_config.json.
        embed_dim: width of the vectors that are compared.
        vision: sizes of the image tower; None if it is frozen, and its vectors are given.
        quick_gelu: True for the activation of OpenAI's models.
    """

    model_type = "close_transfer_two_towers"

    def __init__(
        self,
        text: dict[str, Any] | None = None,
        embed_dim: int = 0,
        vision: VisionSizes | None = None,
        quick_gelu: bool = False,
        **kwargs: Any,
    ) -> None:
        # transformers builds an empty one, to see which values differ from it.
        self.text = text or {}
        self.embed_dim = embed_dim
        self.vision = vision
        self.quick_gelu = quick_gelu
        super().__init__(**kwargs)


def describe_text_tower(
    width: int, depth: int, heads: int, context_length: int, vocab_size: int, pad_id: int, end_id: int
) -> dict[str, Any]:
    """Return the text_cfg of an open_clip_config.json, of a causal tower that takes its output from the end token."""
    return {
        "context_length": context_length,
        "vocab_size": vocab_size,
        "hf_tokenizer_name": "trained on the texts",  # any name: open_clip takes the tokenizer in the folder
        "width": width,
        "heads": heads,
        "layers": depth,
        "pool_type": "eos",
        "eos_id": end_id,
        "pad_id": pad_id,
    }


def encode_short_texts(tower: open_clip.CLIP | TextTransformer, tokens: Int[Tensor, "b l"], end_id: int) -> Tensor:
    """Return the vectors of texts, shape (b, d), without padding to the full context.

    Args:
        tower: causal text tower that takes its output from the end token, or an open_clip model that has one.
        tokens: token ids, each text with its end token, then padded to the batch's longest text.
        end_id: id of the end token.
    """
    length = tokens.shape[1]
    assert tower.attn_mask is not None
    x = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    ends = (tokens == end_id).int().argmax(dim=-1)
    return x[torch.arange(len(x), device=x.device), ends] @ tower.text_projection


class TwoTowers(PreTrainedModel):
    """Text tower, temperature, and image tower or none."""

    config_class = TwoTowersConfig
    base_model_prefix = ""
    main_input_name = "tokens"

    def __init__(self, config: TwoTowersConfig) -> None:
        """Build the towers with weights from PyTorch's global generator, the image tower first, as a captioner does."""
        super().__init__(config)
        self.vision: VisionTransformer | None = None
        if config.vision is not None:
            self.vision = build_vision_transformer(config.vision)
            self.image_projection = nn.Linear(config.vision["width"], config.embed_dim, bias=False)
        text = config.text
        self.text = TextTransformer(
            context_length=text["context_length"],
            vocab_size=text["vocab_size"],
            width=text["width"],
            heads=text["heads"],
            layers=text["layers"],
            output_dim=config.embed_dim,
            pool_type=text["pool_type"],
            eos_id=text["eos_id"],
            pad_id=text["pad_id"],
            act_layer=QuickGELU if config.quick_gelu else nn.GELU,
        )
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(_INITIAL_TEMPERATURE)))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing; each part initialises its weights when it is built."""

    def limit_temperature(self) -> None:
        """Limit the scale of the logits to 100, as open_clip does after each step."""
        with torch.no_grad():
            self.logit_scale.clamp_(0, _MAX_LOGIT_SCALE)

    def forward(
        self, images: Tensor, tokens: Int[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"], Float[Tensor, ""]]:
        """Return unit vectors of images and of texts, and the scale of their cosines.

        Args:
            images: pixels as of `normalize_pixels`, shape (b, s, s, 3); without an image tower vectors, shape (b, d).
            tokens: as of `encode_short_texts`.
        """
        self.limit_temperature()  # before each step is the same as after each
        if self.vision is not None:
            images = self.image_projection(self.vision(normalize_pixels(images)))
        texts = encode_short_texts(self.text, tokens, self.config.text["eos_id"])
        # In 32 bits even if the towers compute in 16: the scaled cosines need the digits.
        return (
            functional.normalize(images.float(), dim=-1),
            functional.normalize(texts.float(), dim=-1),
            self.logit_scale.float().exp(),
        )

    def collect_weights(self) -> dict[str, Tensor]:
        """Return the weights by the names that open_clip's `CustomTextCLIP` gives them, without those of a frozen tower."""
        renamed = {"vision.": "visual.trunk.", "image_projection.": "visual.head.proj."}
        weights: dict[str, Tensor] = {}
        for name, tensor in self.state_dict().items():
            prefix = next((old for old in renamed if name.startswith(old)), "")
            weights[renamed.get(prefix, "") + name.removeprefix(prefix)] = tensor
        return weights


# Without it, transformers warns about a model of an unknown type when it loads the tokenizer of a checkpoint.
AutoConfig.register(TwoTowersConfig.model_type, TwoTowersConfig)
