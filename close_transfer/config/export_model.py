"""Settings of the command that exports a trained model."""

from typing import Annotated

from pydantic import model_validator

from close_transfer.config.saved_run import RunReference
from close_transfer.core.roles import Role, Writes


class ExportModelConfig(RunReference):
    """Settings of `export_model.py`."""

    output: Annotated[str | None, Role.LOCATION, Writes.FOLDER]
    push_to_hub: str | None
    private: bool
    licence: str | None

    @model_validator(mode="after")
    def _check_destination(self) -> "ExportModelConfig":
        if not (self.output or self.push_to_hub):
            raise ValueError("there is no place to export to. Give output=FOLDER, push_to_hub=NAME, or both")
        return self
