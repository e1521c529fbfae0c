"""Settings of the command that trains the Picturebook CLIP."""

from typing import Annotated, Any, Literal

from pydantic import Field

from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Natural, NonNegative, Positive, StrictModel


class TrainPicturebookClipConfig(StrictModel):
    """Settings of `train_picturebook_clip.py`."""

    embed_dim: Positive
    image_size: Positive
    vision: dict[str, Any]
    context_length: Positive
    text: dict[str, Any]
    vocab_size: Annotated[int, Field(ge=300)]
    num_scenes: Positive
    num_test: Positive
    steps: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Positive
    weight_decay: NonNegative
    temperature: Annotated[float, Field(gt=0)]
    learn_temperature: bool
    objective: Literal["contrastive", "classes", "none"]
    image_offset: NonNegative
    text_offset: NonNegative
    seed: Natural
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
