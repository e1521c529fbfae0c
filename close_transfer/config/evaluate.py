"""Settings of evaluation."""

from typing import Annotated

from pydantic import BeforeValidator

from close_transfer.config.choices import EvalSplit, ExtraMetric, InputModality, as_tuple
from close_transfer.config.components import ClipConfig, OpenClipConfig
from close_transfer.config.data import DataConfig
from close_transfer.config.decoding import AnsweringConfig
from close_transfer.config.saved_run import RunReference
from close_transfer.core.schema import Positive


class EvaluateConfig(RunReference, AnsweringConfig):
    """Settings of `eval_image.py`."""

    data: DataConfig | None = None
    clip: ClipConfig | None = None
    split: EvalSplit
    scene: InputModality
    batch_size: Positive
    max_examples: Positive | None
    num_bootstrap: Positive
    extra_metrics: Annotated[tuple[ExtraMetric, ...], BeforeValidator(as_tuple)]
    clipscore: OpenClipConfig | None = None
    leakage: bool
    compare: tuple[str, ...]
    output: str | None
    device: str
