"""Settings of the command that scores predictions."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, model_validator

from close_transfer.config.choices import DataRegime, ExtraMetricName, Given, InputModality, as_tuple
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig, TaskConfig
from close_transfer.core.schema import Natural, OnBadRows, Positive, StrictModel

OnDuplicate = Literal["error", "first", "last"]


_CAPTION_TASKS = ("captioning", "captioning-multi", "visual-news")


class ScorePredictionsConfig(StrictModel):
    """Settings of `score_predictions.py`."""

    task: TaskConfig
    predictions: Given
    references: Given
    questions: str | None
    split: str | None  # Karpathy's; else only a name in tables
    id_field: str | None  # of predictions, where it has an uncommon name
    prediction_field: str | None
    on_missing: OnBadRows
    on_extra: OnBadRows
    on_duplicate: OnDuplicate
    extra_metrics: Annotated[tuple[ExtraMetricName, ...], BeforeValidator(as_tuple)]
    images: str | None
    clip: ClipConfig | None = None
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
    def _fits_task(self) -> "ScorePredictionsConfig":
        if self.extra_metrics and self.task.name not in _CAPTION_TASKS:
            raise ValueError(
                f"extra_metrics={','.join(self.extra_metrics)}: these score captions, and task={self.task.name} has none; use extra_metrics=[]"
            )
        if self.questions is not None and self.task.name not in ("vqa", "vqa-e"):
            raise ValueError(f"questions={self.questions}: task={self.task.name} has no questions; leave it out")
        return self
