"""Settings of the command that reads prefix tokens as words."""

from typing import Annotated, ClassVar

from close_transfer.config.choices import Checkpoint, ChosenTask
from close_transfer.core.roles import Role
from close_transfer.core.schema import Positive, StrictModel


class InspectPrefixConfig(StrictModel):
    """Settings of `inspect_prefix.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: Annotated[str, Role.LOCATION]
    runs: Annotated[str, Role.LOCATION]
    checkpoint: Checkpoint
    base_model: Annotated[str | None, Role.LOCATION]
    images: str | None
    num_images: Positive
    num_words: Positive
    device: Annotated[str, Role.LOCATION]
