"""Settings of the command that saves a trained model for others."""

from typing import Annotated, ClassVar

from pydantic import model_validator

from close_transfer.config.choices import Checkpoint, ChosenTask
from close_transfer.core.roles import Role
from close_transfer.core.schema import StrictModel


class ExportModelConfig(StrictModel):
    """Settings of `export_model.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: Annotated[str, Role.LOCATION]
    runs: Annotated[str, Role.LOCATION]
    checkpoint: Checkpoint
    base_model: Annotated[str | None, Role.LOCATION]
    output: Annotated[str | None, Role.LOCATION]
    push_to_hub: str | None
    private: bool
    licence: str | None

    @model_validator(mode="after")
    def _goes_somewhere(self) -> "ExportModelConfig":
        if not (self.output or self.push_to_hub):
            raise ValueError("give output=FOLDER, push_to_hub=NAME, or both")
        return self
