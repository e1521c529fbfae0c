"""Settings of evaluation."""

from typing import Annotated

from pydantic import BeforeValidator

from close_transfer.config.choices import EvalSplit, ExtraMetricName, InputModality, as_tuple
from close_transfer.config.components import ClipConfig
from close_transfer.config.data import DataConfig
from close_transfer.config.decoding import AnsweringConfig
from close_transfer.config.saved_run import RunReference
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Positive


class EvaluateConfig(RunReference, AnsweringConfig):
    """Settings of `eval_image.py`."""

    data: Annotated[DataConfig | None, Role.TEST] = None
    clip: Annotated[ClipConfig | None, Role.TEST] = None
    split: Annotated[EvalSplit, Role.TEST]
    scene: Annotated[InputModality, Role.TEST]
    batch_size: Annotated[Positive | None, Role.THROUGHPUT]
    max_examples: Annotated[Positive | None, Role.TEST]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    extra_metrics: Annotated[tuple[ExtraMetricName, ...], BeforeValidator(as_tuple), Role.REPORTING]
    clipscore: Annotated[ClipConfig | None, Role.REPORTING] = None
    leakage: Annotated[bool, Role.REPORTING]
    compare: Annotated[tuple[str, ...], Role.REPORTING]
    output: Annotated[str | None, Role.LOCATION, Writes.FOLDER]
    device: Annotated[str, Role.LOCATION]
