"""Settings of the command that scores predictions."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, model_validator

from close_transfer.config.choices import DataRegime, ExtraMetric, Given, InputModality, as_tuple
from close_transfer.config.components import EmbeddingCacheConfig, OpenClipConfig, TaskConfig
from close_transfer.core.roles import Role
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
    extra_metrics: Annotated[tuple[ExtraMetric, ...], BeforeValidator(as_tuple), Role.REPORTING]
    images: Annotated[str | None, Role.TEST]
    clip: Annotated[OpenClipConfig | None, Role.REPORTING] = None  # of CLIPScore
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]
    name: Annotated[str | None, Role.LABEL]
    data_name: Annotated[str | None, Role.LABEL]
    scene: Annotated[InputModality, Role.TEST]
    data_regime: Annotated[DataRegime | None, Role.LABEL]
    seed: Annotated[Natural | None, Role.SEED]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    output: Annotated[Given, Role.LOCATION]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="after")
    def _clipscore_has_images(self) -> "ScorePredictionsConfig":
        if "clipscore" in self.extra_metrics and (self.images is None or self.clip is None):
            raise ValueError(
                "extra_metrics=clipscore needs the images and an encoder; give images=FOLDER and clip=open_clip with its settings"
            )
        return self
