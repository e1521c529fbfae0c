"""Settings of prediction."""

from pathlib import Path
from typing import Annotated

from pydantic import model_validator

from close_transfer.config.choices import (
    InputModality,
)
from close_transfer.config.decoding import AnsweringConfig
from close_transfer.config.saved_run import RunReference
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Positive


class PredictConfig(RunReference, AnsweringConfig):
    """Settings of `predict.py`."""

    images: str | None
    embeddings: str | None
    scene: InputModality
    prompt: str
    batch_size: Annotated[Positive, Role.THROUGHPUT]
    output: Annotated[str, Role.LOCATION, Writes.FILE]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="after")
    def _check_inputs(self) -> "PredictConfig":
        if (self.images is None) == (self.embeddings is None):
            problem = "nothing to answer is given" if self.images is None else "images and embeddings are both given"
            raise ValueError(f"{problem}. Give exactly one of images=FILE|FOLDER and embeddings=FILE")
        if self.images is not None and self.scene != "image":
            raise ValueError(f"scene={self.scene}: only applies with embeddings, but images are given. Leave it out")
        return self

    @model_validator(mode="after")
    def _check_paths(self) -> "PredictConfig":
        for name in ("images", "embeddings", "output"):
            path = getattr(self, name)
            if path is not None and (not path or (name == "output" and not Path(path).name)):
                raise ValueError(f"{name}={path}: names no file. Give a path")
        return self
