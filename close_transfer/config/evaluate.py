"""Settings of evaluation."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from close_transfer.config.choices import Checkpoint, ChosenTask, EvalSplit, ExtraMetricName, InputModality, as_tuple
from close_transfer.config.components import ClipConfig
from close_transfer.config.data import DataConfig
from close_transfer.config.decoding import AnsweringConfig
from close_transfer.core.schema import Positive


class EvaluateConfig(AnsweringConfig):
    """Settings of `eval_image.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: str
    runs: str
    checkpoint: Checkpoint
    base_model: str | None
    data: DataConfig | None = None  # the run's own when None
    clip: ClipConfig | None = None  # the run's own when None
    split: EvalSplit
    scene: InputModality
    batch_size: Positive
    max_examples: Positive | None
    num_bootstrap: Positive
    extra_metrics: Annotated[tuple[ExtraMetricName, ...], BeforeValidator(as_tuple)]
    clipscore: ClipConfig | None = None  # the encoder that CLIPScore compares with; the run's own when None
    leakage: bool
    compare: tuple[str, ...]  # evaluation folders to show beside this one
    output: str | None
    device: str
