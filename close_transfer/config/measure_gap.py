"""Settings of the command that measures the modality gap."""

from typing import Annotated, ClassVar

from pydantic import Field

from close_transfer.config.choices import ChosenTask, EvalSplit
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig
from close_transfer.config.data import DataConfig
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Natural, NonNegative, Positive, StrictModel


class MeasureGapConfig(StrictModel):
    """Settings of `measure_gap.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    data: DataConfig
    clip: ClipConfig
    split: EvalSplit
    images: bool
    max_scenes: Annotated[int, Field(ge=2, lt=2**31)] | None
    noises: tuple[NonNegative, ...]
    num_bootstrap: Annotated[int, Field(ge=2, lt=2**31)]
    num_drawn: Positive
    seed: Natural
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    device: Annotated[str, Role.LOCATION]
