"""Settings of the command that probes an encoder."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from close_transfer.config.choices import EvalSplit, as_tuple
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig
from close_transfer.config.data import DataConfig
from close_transfer.config.saved_run import ScoredRun
from close_transfer.core.roles import Names, Role, Writes
from close_transfer.core.schema import AboveZero, Natural, NonNegative, Positive, Share, StrictModel

ProbeName = Literal["few_shot", "linear", "attention_pool", "zero_shot"]
PicturebookTarget = Literal["kinds", "colours", "counts", "relations", "places"]
_SIMILARITY_TEMPLATES = ("a photo of a {}.",)  # CLIP's default
_LIKELIHOOD_TEMPLATES = ("{}",)  # big_vision scores the bare names, without a prompt


def _require_place(value: str) -> str:
    if "{}" not in value:  # all classes would have the same text
        raise ValueError('has no {} for the name of the class. Write one, as in "a photo of a {}."')
    return value


class FewShotConfig(StrictModel):
    """Settings of the few-shot linear probe."""

    shots: Annotated[tuple[Positive, ...], Field(min_length=1)]
    num_seeds: Positive
    l2: AboveZero


class LinearProbeConfig(StrictModel):
    """Settings of the linear probe on all training images."""

    l2: Annotated[tuple[NonNegative, ...], Field(min_length=1)]


class AttentionPoolConfig(StrictModel):
    """Settings of the attention-pool probe."""

    num_heads: Positive
    steps: Positive
    batch_size: Positive
    learning_rate: AboveZero
    weight_decay: NonNegative


class ProbeEncoderConfig(ScoredRun):
    """Settings of `probe_encoder.py`."""

    data: DataConfig
    clip: ClipConfig
    images: Annotated[str | None, Names.FILE]
    test_images: Annotated[str | None, Names.FILE]
    test_share: Share
    split: EvalSplit | None
    targets: Annotated[tuple[PicturebookTarget, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    probes: Annotated[tuple[ProbeName, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    few_shot: FewShotConfig
    linear: LinearProbeConfig
    attention_pool: AttentionPoolConfig
    templates: (
        Annotated[
            tuple[Annotated[str, AfterValidator(_require_place)], ...], BeforeValidator(as_tuple), Field(min_length=1)
        ]
        | None
    )
    batch_size: Annotated[Positive, Role.THROUGHPUT]
    seed: Natural
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="after")
    def _check_images(self) -> "ProbeEncoderConfig":
        if self.images is None and self.test_images is not None:
            raise ValueError(
                f"test_images={self.test_images} only applies with images=. Give images=FOLDER with the training images"
            )
        if self.images is not None and self.split is not None:
            raise ValueError(
                f"split={self.split} only applies with data=. Give test_images=FOLDER to choose the test images, or leave "
                "split out"
            )
        return self

    @model_validator(mode="after")
    def _check_templates(self) -> "ProbeEncoderConfig":
        if self.templates is not None and self.images is None and self.data.is_generated:
            raise ValueError(
                f"templates= only applies to names of classes, and data={self.data.name} has texts about each class. Leave "
                "templates out, or give images=FOLDER"
            )
        return self

    @property
    def similarity_templates(self) -> tuple[str, ...]:
        """Return the templates of texts that are compared with images by an encoder."""
        return self.templates or _SIMILARITY_TEMPLATES

    @property
    def likelihood_templates(self) -> tuple[str, ...]:
        """Return the templates of texts whose likelihood a captioner scores."""
        return self.templates or _LIKELIHOOD_TEMPLATES

    @property
    def used_split(self) -> EvalSplit | None:
        """Return the split of data= that probes are tested on; None for images=."""
        if self.images is not None:
            return None
        return self.split or (self.data.find_evaluation_split() if self.data.has_splits else "val")
