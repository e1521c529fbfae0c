"""Settings of the command that scores what needs no training."""

from typing import Literal

from close_transfer.config.choices import EvalSplit
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig, TaskConfig
from close_transfer.config.data import DataConfig
from close_transfer.core.schema import Positive, StrictModel


class BaselineConfig(StrictModel):
    """Settings of `baseline.py`."""

    task: TaskConfig
    data: DataConfig
    training: DataConfig | None = None
    clip: ClipConfig
    baseline: Literal["nearest", "zero-shot"]
    split: EvalSplit
    num_answers: Positive
    max_examples: Positive | None
    num_bootstrap: Positive
    output: str
    device: str
    embedding_cache: EmbeddingCacheConfig
