"""Settings of the command that scores predictions."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from close_transfer.config.choices import DataRegime, ExtraMetricName, Given, InputModality, as_tuple
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig, TaskConfig
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Natural, OnBadRows, Positive, StrictModel

OnDuplicate = Literal["error", "first", "last"]


class ScorePredictionsConfig(StrictModel):
    """Settings of `score_predictions.py`."""

    task: TaskConfig
    predictions: Given
    references: Annotated[Given, Role.TEST]
    questions: Annotated[str | None, Role.TEST]
    split: Annotated[str | None, Role.TEST]
    id_field: Annotated[str | None, Role.TEST]
    prediction_field: str | None
    on_missing: Annotated[OnBadRows, Role.TEST]
    on_extra: Annotated[OnBadRows, Role.TEST]
    on_duplicate: OnDuplicate
    extra_metrics: Annotated[tuple[ExtraMetricName, ...], BeforeValidator(as_tuple), Role.REPORTING]
    images: Annotated[str | None, Role.TEST]
    clip: Annotated[ClipConfig | None, Role.REPORTING] = None
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]
    name: Annotated[str | None, Role.LABEL]
    data_name: Annotated[str | None, Role.LABEL]
    scene: Annotated[InputModality, Role.TEST]
    data_regime: Annotated[DataRegime | None, Role.LABEL]
    seed: Annotated[Natural | None, Role.SEED]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    output: Annotated[Given, Role.LOCATION, Writes.FOLDER]
    device: Annotated[str, Role.LOCATION]
