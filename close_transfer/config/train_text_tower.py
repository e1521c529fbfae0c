"""Settings of the command that trains a text tower by comparing texts with images."""

from typing import Annotated, Any, Literal

from pydantic import model_validator

from close_transfer.config.captioned_images import CaptionedImagesConfig
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig, PrecomputedConfig
from close_transfer.core.roles import Role
from close_transfer.core.schema import Positive, StrictModel


class TextTowerSizes(StrictModel):
    """Sizes of the text tower."""

    width: Positive
    depth: Positive
    heads: Positive

    @model_validator(mode="after")
    def _check_heads(self) -> "TextTowerSizes":
        if self.width % self.heads:
            raise ValueError(
                f"text_tower.heads={self.heads} does not divide text_tower.width={self.width}. Give a divisor"
            )
        return self


class TrainTextTowerConfig(CaptionedImagesConfig):
    """Settings of `train_text_tower.py`."""

    reader = "a text tower"

    image_tower: Literal["trained", "locked"]
    clip: ClipConfig | None = None
    text_tower: TextTowerSizes
    mask_duplicates: bool
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]

    @property
    def is_locked(self) -> bool:
        """Return True if the image tower is a frozen encoder."""
        return self.clip is not None

    @model_validator(mode="before")
    @classmethod
    def _check_image_tower(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("image_tower") in (None, "", "???"):
            raise ValueError(
                "image_tower: missing. Give image_tower=trained, or image_tower=locked with the encoder as clip="
            )
        return values

    @model_validator(mode="after")
    def _check_clip(self) -> "TrainTextTowerConfig":
        if self.image_tower == "locked" and self.clip is None:
            raise ValueError(
                "image_tower=locked: no encoder is given. Give one, such as clip=captioner clip.model=FOLDER"
            )
        if self.clip is None:
            return self
        if self.image_tower == "trained":
            raise ValueError(
                f"clip={self.clip.kind} has no effect with image_tower=trained, whose sizes are those of captioner=. Leave clip "
                "out, or give image_tower=locked"
            )
        if isinstance(self.clip, PrecomputedConfig):
            raise ValueError(
                "clip=precomputed has no image tower that could be saved with the text tower. Give the encoder of the vectors"
            )
        if self.clip.features != "pooled":
            raise ValueError(
                f"clip.features={self.clip.features}: a text is compared with one vector per image. Give clip.features=pooled"
            )
        return self

    @model_validator(mode="after")
    def _check_loop(self) -> "TrainTextTowerConfig":
        if self.train.gradient_accumulation != 1:
            raise ValueError(
                f"train.gradient_accumulation={self.train.gradient_accumulation}: the contrastive loss compares all texts of a "
                "batch, so its parts would be another loss. Give 1, and a smaller train.batch_size if memory is short"
            )
        if self.train.batch_size == 1:
            raise ValueError("train.batch_size=1: a text is compared with the others of its batch. Give 2 or more")
        if self.train.label_smoothing:
            raise ValueError(
                f"train.label_smoothing={self.train.label_smoothing} has no effect on the contrastive loss. Leave it out"
            )
        return self
