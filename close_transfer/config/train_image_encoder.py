"""Settings of the command that trains an image encoder without language."""

from typing import Annotated, Literal

from pydantic import model_validator

from close_transfer.config.captioned_images import CaptionedImagesConfig
from close_transfer.core.roles import Names
from close_transfer.core.schema import Positive, Share

_MASKED_SHARE = 0.75  # the paper's number
_DECODER_DEPTH = 2  # the paper's decoder has eight, for encoders of 12 layers and more

_VAL_SHARE = 0.1


class TrainImageEncoderConfig(CaptionedImagesConfig):
    """Settings of `train_image_encoder.py`."""

    reader = "a captioner"

    objective: Literal["classes", "masked_patches", "none"]
    masked_share: Share | None
    decoder_depth: Positive | None
    images: Annotated[str | None, Names.FILE]
    val_images: Annotated[str | None, Names.FILE]
    val_share: Share | None

    @property
    def num_patches(self) -> int:
        """Return the number of patches of an image."""
        return (self.captioner.image_size // self.captioner.patch_size) ** 2

    @property
    def num_visible(self) -> int:
        """Return the number of patches of an image that the encoder sees with objective=masked_patches."""
        share = _MASKED_SHARE if self.masked_share is None else self.masked_share
        return min(max(1, round((1 - share) * self.num_patches)), self.num_patches - 1)

    @property
    def used_decoder_depth(self) -> int:
        """Return the number of layers of the decoder of objective=masked_patches."""
        return _DECODER_DEPTH if self.decoder_depth is None else self.decoder_depth

    @property
    def used_val_share(self) -> float:
        """Return the share of images= that is held out for validation."""
        return _VAL_SHARE if self.val_share is None else self.val_share

    @model_validator(mode="after")
    def _check_masked_patches(self) -> "TrainImageEncoderConfig":
        if self.objective == "masked_patches":
            if self.num_patches == 1:
                raise ValueError(
                    f"captioner.patch_size={self.captioner.patch_size}: an image has one patch, so none can be hidden. Give a "
                    "smaller patch_size, or a larger captioner.image_size"
                )
            return self
        for name in ("masked_share", "decoder_depth"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name}={getattr(self, name)} only applies with objective=masked_patches. Give objective=masked_patches, "
                    "or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _check_images(self) -> "TrainImageEncoderConfig":
        for name in ("val_images", "val_share"):
            if self.images is None and getattr(self, name) is not None:
                raise ValueError(
                    f"{name}={getattr(self, name)} only applies with images=. Give images=FOLDER with the training images"
                )
        if self.val_images is not None and self.val_share is not None:
            raise ValueError(f"val_share={self.val_share} only applies without val_images. Leave one of them out")
        if self.images is not None and self.exclude_overlap_with is not None:
            raise ValueError("exclude_overlap_with only applies with data=. Leave it out, or leave images out")
        return self

    @model_validator(mode="after")
    def _check_label_smoothing(self) -> "TrainImageEncoderConfig":
        has_one_class = self.objective == "classes" and (self.images is not None or not self.data.is_generated)
        if self.train.label_smoothing and not has_one_class:
            raise ValueError(
                f"train.label_smoothing={self.train.label_smoothing} only applies with objective=classes and one class per "
                "image. Leave it out"
            )
        return self

    @model_validator(mode="after")
    def _check_untrained(self) -> "TrainImageEncoderConfig":
        if self.objective != "none":
            return self
        for name, unset in (("images", None), ("exclude_overlap_with", None), ("resume", False)):
            if getattr(self, name) != unset:
                raise ValueError(
                    f"{name}={getattr(self, name)}: objective=none trains nothing. Leave {name} out, or give another objective"
                )
        return self
