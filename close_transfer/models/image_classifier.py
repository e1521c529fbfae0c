"""Image encoder with a linear head for classes; the head is thrown away after the training.

Shapes: b images, *s* pixels per side, c classes.
"""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from close_transfer.encoders.captioner_encoder import VisionSizes, build_vision_transformer, normalize_pixels


class ImageClassifierConfig(PreTrainedConfig):
    """Sizes of a classifier.

    Attributes:
        vision: sizes of the vision transformer.
        num_classes: number of classes.
    """

    model_type = "image_classifier_with_encoder"

    def __init__(self, vision: VisionSizes | None = None, num_classes: int = 0, **kwargs: Any) -> None:
        # transformers builds an empty one, to see which values differ from it.
        self.vision: VisionSizes | dict[str, int] = vision or {}
        self.num_classes = num_classes
        super().__init__(**kwargs)


class ImageClassifier(PreTrainedModel):
    """Image encoder, and a linear head on the mean of its tokens."""

    config_class = ImageClassifierConfig
    base_model_prefix = ""
    main_input_name = "pixels"

    def __init__(self, config: ImageClassifierConfig) -> None:
        """Build the encoder first, so that a seed gives it the weights that it gives a captioner's."""
        super().__init__(config)
        self.vision = build_vision_transformer(config.vision)  # type: ignore[arg-type]
        self.head = torch.nn.Linear(self.vision.embed_dim, config.num_classes)
        # As the output layer of a captioner.
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Do nothing; the constructor initialises all weights."""

    def forward(self, pixels: UInt8[Tensor, "b s s 3"]) -> Float[Tensor, "b c"]:
        """Return the logits of every class."""
        return self.head(self.vision(normalize_pixels(pixels)))


# Without it, transformers warns about a model of an unknown type when it loads the tokenizer of a checkpoint.
AutoConfig.register(ImageClassifierConfig.model_type, ImageClassifierConfig)
