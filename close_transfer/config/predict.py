"""Settings of prediction."""

from pathlib import Path
from typing import Annotated

from pydantic import model_validator

from close_transfer.config.choices import (
    InputModality,
)
from close_transfer.config.decoding import AnsweringConfig
from close_transfer.config.saved_run import RunReference
from close_transfer.core.roles import Role
from close_transfer.core.schema import Positive


class PredictConfig(RunReference, AnsweringConfig):
    """Settings of `predict.py`."""

    images: str | None
    embeddings: str | None
    scene: InputModality
    prompt: str
    batch_size: Annotated[Positive, Role.THROUGHPUT]
    output: Annotated[str, Role.LOCATION]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="after")
    def _one_input(self) -> "PredictConfig":
        if (self.images is None) == (self.embeddings is None):
            raise ValueError("give exactly one of images=FILE|FOLDER and embeddings=FILE")
        if self.images is not None and self.scene != "image":
            raise ValueError(f"scene={self.scene}: is of embeddings=FILE, and images= are given; leave it out")
        return self

    @model_validator(mode="after")
    def _names_files(self) -> "PredictConfig":
        for name in ("images", "embeddings", "output"):
            path = getattr(self, name)
            if path is not None and (not path or (name == "output" and not Path(path).name)):
                raise ValueError(f"{name}={path}: names no file; give a path")
        return self
