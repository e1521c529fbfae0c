"""Settings of the command that reads prefix tokens as words."""

from typing import ClassVar

from close_transfer.config.choices import Checkpoint, ChosenTask
from close_transfer.core.schema import Positive, StrictModel


class InspectPrefixConfig(StrictModel):
    """Settings of `inspect_prefix.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: str
    runs: str
    checkpoint: Checkpoint
    base_model: str | None
    images: str | None
    num_images: Positive
    num_words: Positive
    device: str
