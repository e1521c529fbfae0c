"""Settings that name a trained model, which every command that uses one shares."""

from typing import ClassVar

from close_transfer.config.choices import Checkpoint, ChosenTask
from close_transfer.core.schema import StrictModel


class RunReference(StrictModel):
    """A trained model: a run's folder, or the newest run of a task."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: str
    runs: str
    checkpoint: Checkpoint
    base_model: str | None
