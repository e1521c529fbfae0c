"""Settings of evaluation."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from close_transfer.config.choices import Checkpoint, ChosenTask, EvalSplit, ExtraMetric, InputModality, as_tuple
from close_transfer.config.components import ClipConfig, OpenClipConfig
from close_transfer.config.data import DataConfig
from close_transfer.config.decoding import AnsweringConfig
from close_transfer.core.roles import Role
from close_transfer.core.schema import Positive


class EvaluateConfig(AnsweringConfig):
    """Settings of `eval_image.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: Annotated[ChosenTask, Role.TEST]
    run: Annotated[str, Role.LOCATION]
    runs: Annotated[str, Role.LOCATION]
    checkpoint: Checkpoint
    base_model: Annotated[str | None, Role.LOCATION]
    data: Annotated[DataConfig | None, Role.TEST] = None  # the run's own when None
    clip: Annotated[ClipConfig | None, Role.TEST] = None  # the run's own when None
    split: Annotated[EvalSplit, Role.TEST]
    scene: Annotated[InputModality, Role.TEST]
    batch_size: Annotated[Positive, Role.THROUGHPUT]
    max_examples: Annotated[Positive | None, Role.TEST]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    extra_metrics: Annotated[tuple[ExtraMetric, ...], BeforeValidator(as_tuple), Role.REPORTING]
    clipscore: Annotated[OpenClipConfig | None, Role.REPORTING] = (
        None  # the encoder that CLIPScore compares with; the run's own when None
    )
    leakage: Annotated[bool, Role.REPORTING]
    compare: Annotated[tuple[str, ...], Role.REPORTING]  # evaluation folders to show beside this one
    output: Annotated[str | None, Role.LOCATION]
    device: Annotated[str, Role.LOCATION]
