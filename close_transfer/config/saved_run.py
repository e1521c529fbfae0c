"""Settings that name a trained model, shared by all commands that use one."""

from typing import Annotated, ClassVar

from close_transfer.config.choices import Checkpoint, ChosenTask
from close_transfer.core.roles import Role
from close_transfer.core.schema import StrictModel


class RunReference(StrictModel):
    """Settings that name a trained model: a run's folder, or the newest run of a task."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: Annotated[ChosenTask, Role.TEST]
    run: Annotated[str, Role.LOCATION]
    runs: Annotated[str, Role.LOCATION]
    checkpoint: Checkpoint
    base_model: Annotated[str | None, Role.LOCATION]


class ScoredRun(StrictModel):
    """Settings that name a captioner's run whose likelihoods a command uses, if they name one."""

    run: Annotated[str | None, Role.LOCATION]
    runs: Annotated[str, Role.LOCATION]
    checkpoint: Checkpoint
    base_model: Annotated[str | None, Role.LOCATION]
