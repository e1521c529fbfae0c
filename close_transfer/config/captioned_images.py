"""Settings that the trainings on images with captions share."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from close_transfer.config.choices import as_tuple
from close_transfer.config.components import LoopConfig, TaskConfig
from close_transfer.config.data import DataConfig
from close_transfer.core.roles import Names, Role, Writes
from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel


class CaptionerSizes(StrictModel):
    """Sizes of image encoder and decoder, which share width and number of heads, and the training that fits them."""

    name: str
    image_size: Positive
    patch_size: Positive
    width: Positive
    depth: Positive
    heads: Positive
    decoder_depth: Positive
    num_positions: Annotated[int, Field(ge=2)]
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)]
    max_steps: Positive
    batch_size: Positive
    learning_rate: AboveZero
    warmup_steps: Natural

    @model_validator(mode="after")
    def _check_sizes(self) -> "CaptionerSizes":
        if self.image_size % self.patch_size:
            raise ValueError(
                f"captioner.patch_size={self.patch_size} does not divide captioner.image_size={self.image_size}. Give a divisor"
            )
        if self.width % self.heads:
            raise ValueError(
                f"captioner.heads={self.heads} does not divide captioner.width={self.width}. Give a divisor"
            )
        return self


class CaptionedImagesConfig(StrictModel):
    """Settings of data, loop and folder.

    Attributes:
        reader: network that reads the texts, with its article, for messages.
    """

    reader: ClassVar[str]

    captioner: CaptionerSizes
    task: TaskConfig
    data: DataConfig
    train: LoopConfig
    seed: Annotated[Natural, Role.SEED]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    resume: Annotated[bool, Role.LOCATION]
    exclude_overlap_with: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple), Names.FILE]
    exclude_overlap_column: str
    pixel_cache: Annotated[str, Role.LOCATION]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="before")
    @classmethod
    def _check_given(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("output") in (None, "", "???"):
            raise ValueError("output: missing. Give output=VALUE, such as output=runs/cappa")
        return values

    @property
    def encodes_images(self) -> bool:
        """Return True, because the image files are read."""
        return True

    @model_validator(mode="after")
    def _check_task(self) -> "CaptionedImagesConfig":
        if self.task.prompt:
            raise ValueError(f"task.prompt={self.task.prompt}: {self.reader} reads no prompt. Leave it out")
        if self.task.max_target_tokens > self.captioner.num_positions:
            raise ValueError(
                f"task.max_target_tokens={self.task.max_target_tokens}: {self.reader} has captioner.num_positions="
                f"{self.captioner.num_positions} positions. Give at most that"
            )
        return self
