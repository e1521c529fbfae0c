"""Settings of the command that scores what needs no training."""

from typing import ClassVar, Literal

from close_transfer.config.base import EvalSplit, Positive, Strict
from close_transfer.config.commands import ChosenTask
from close_transfer.config.data import DataConfig
from close_transfer.config.parts import ClipConfig, StoreConfig


class BaselineConfig(Strict):
    """All of `eval_baseline.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    data: DataConfig
    clip: ClipConfig
    baseline: Literal["nearest", "zero-shot"]
    split: EvalSplit
    num_answers: Positive
    max_examples: Positive | None
    num_bootstrap: Positive
    output: str
    device: str
    store: StoreConfig
