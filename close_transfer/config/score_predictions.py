"""Settings of the command that scores predictions."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, model_validator

from close_transfer.config.choices import DataRegime, ExtraMetric, Given, InputModality, as_tuple
from close_transfer.config.components import EmbeddingCacheConfig, OpenClipConfig, TaskConfig
from close_transfer.core.schema import Natural, OnBadRows, Positive, StrictModel

OnDuplicate = Literal["error", "first", "last"]


class ScorePredictionsConfig(StrictModel):
    """Settings of `score_predictions.py`."""

    task: TaskConfig
    predictions: Given
    references: Given
    questions: str | None
    split: str | None
    id_field: str | None
    prediction_field: str | None
    on_missing: OnBadRows
    on_extra: OnBadRows
    on_duplicate: OnDuplicate
    extra_metrics: Annotated[tuple[ExtraMetric, ...], BeforeValidator(as_tuple)]
    images: str | None
    clip: OpenClipConfig | None = None
    embedding_cache: EmbeddingCacheConfig
    name: str | None
    data_name: str | None
    scene: InputModality
    data_regime: DataRegime | None
    seed: Natural | None
    num_bootstrap: Positive
    output: Given
    device: str

    @model_validator(mode="after")
    def _clipscore_has_images(self) -> "ScorePredictionsConfig":
        if "clipscore" in self.extra_metrics and (self.images is None or self.clip is None):
            raise ValueError(
                "extra_metrics=clipscore needs the images and an encoder; give images=FOLDER and clip=open_clip with its settings"
            )
        return self
