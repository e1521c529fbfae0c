"""Settings of the command that scores training-free baselines."""

from typing import Annotated, Literal

from close_transfer.config.choices import EvalSplit
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig, TaskConfig
from close_transfer.config.data import DataConfig
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Positive, StrictModel


class BaselineConfig(StrictModel):
    """Settings of `baseline.py`."""

    task: TaskConfig
    data: Annotated[DataConfig, Role.TEST]
    training: DataConfig | None = None
    clip: ClipConfig
    baseline: Literal["nearest", "zero-shot"]
    split: Annotated[EvalSplit, Role.TEST]
    num_answers: Positive
    max_examples: Annotated[Positive | None, Role.TEST]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    device: Annotated[str, Role.LOCATION]
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]
