"""Settings of the command that computes statistics for adapters."""

from typing import Annotated, ClassVar

from pydantic import model_validator

from close_transfer.config.adapters import AdapterConfig
from close_transfer.config.choices import ChosenTask, EvalSplit
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig
from close_transfer.config.data import DataConfig
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel


class ComputeStatisticsConfig(StrictModel):
    """Settings of `compute_statistics.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    data: DataConfig
    clip: ClipConfig
    adapter: AdapterConfig
    split: EvalSplit
    images: bool
    pairs: bool
    max_scenes: Positive | None
    ridge: AboveZero
    seed: Natural
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="after")
    def _check_pairs(self) -> "ComputeStatisticsConfig":
        if self.pairs and not self.images:
            raise ValueError("pairs=true reads the texts' images, but images=false reads none. Leave one of them out")
        return self
