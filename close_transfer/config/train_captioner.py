"""Settings of the command that pretrains an image encoder by captioning."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from close_transfer.config.adapters import AdapterConfig, AdapterSettings, NoiseSettings
from close_transfer.config.choices import as_tuple
from close_transfer.config.components import (
    CaptionerEncoderConfig,
    EmbeddingCacheConfig,
    IdentityMapperConfig,
    LoopConfig,
    TaskConfig,
)
from close_transfer.config.data import DataConfig
from close_transfer.config.language_models import ScratchLM
from close_transfer.config.train import TrainConfig
from close_transfer.core.roles import Names, Role, Writes
from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel

_MASKED_SHARE = 0.75  # the paper's number


class CaptionerSizes(StrictModel):
    """Sizes of image encoder and decoder, which share width and number of heads, and the training that fits them."""

    name: str
    image_size: Positive
    patch_size: Positive
    width: Positive
    depth: Positive
    heads: Positive
    decoder_depth: Positive
    num_positions: Annotated[int, Field(ge=2)]
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)]
    max_steps: Positive
    batch_size: Positive
    learning_rate: AboveZero
    warmup_steps: Natural

    @model_validator(mode="after")
    def _check_sizes(self) -> "CaptionerSizes":
        if self.image_size % self.patch_size:
            raise ValueError(
                f"captioner.patch_size={self.patch_size} does not divide captioner.image_size={self.image_size}. Give a divisor"
            )
        if self.width % self.heads:
            raise ValueError(
                f"captioner.heads={self.heads} does not divide captioner.width={self.width}. Give a divisor"
            )
        return self


class TrainCaptionerConfig(StrictModel):
    """Settings of `train_captioner.py`."""

    objective: Literal["cap", "cappa", "parallel", "blind"]
    masked_share: Annotated[float, Field(ge=0, le=1)] | None
    captioner: CaptionerSizes
    task: TaskConfig
    data: DataConfig
    train: LoopConfig
    seed: Annotated[Natural, Role.SEED]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    resume: Annotated[bool, Role.LOCATION]
    exclude_overlap_with: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple), Names.FILE]
    exclude_overlap_column: str
    pixel_cache: Annotated[str, Role.LOCATION]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="before")
    @classmethod
    def _check_given(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("output") in (None, "", "???"):
            raise ValueError("output: missing. Give output=VALUE, such as output=runs/cappa")
        return values

    @property
    def parallel_share(self) -> float:
        """Return the share of the texts whose tokens are all predicted at once."""
        masked_share = _MASKED_SHARE if self.masked_share is None else self.masked_share
        return {"cappa": masked_share, "parallel": 1.0}.get(self.objective, 0.0)

    @property
    def is_blind(self) -> bool:
        """Return True if the decoder does not see the image."""
        return self.objective == "blind"

    @property
    def decoder_settings(self) -> dict[str, Any]:
        """Return the settings of the decoder, without its vocabulary."""
        sizes = self.captioner
        return {
            "width": sizes.width,
            "depth": sizes.decoder_depth,
            "heads": sizes.heads,
            "num_positions": sizes.num_positions,
            "is_blind": self.is_blind,
        }

    @model_validator(mode="after")
    def _check_masked_share(self) -> "TrainCaptionerConfig":
        if self.masked_share is not None and self.objective != "cappa":
            raise ValueError(
                f"masked_share={self.masked_share} only applies with objective=cappa. Give objective=cappa, or leave the share out"
            )
        return self

    @model_validator(mode="after")
    def _check_task(self) -> "TrainCaptionerConfig":
        if self.task.prompt:
            raise ValueError(f"task.prompt={self.task.prompt}: a captioner reads no prompt. Leave it out")
        if self.task.max_target_tokens > self.captioner.num_positions:
            raise ValueError(
                f"task.max_target_tokens={self.task.max_target_tokens}: the decoder has captioner.num_positions="
                f"{self.captioner.num_positions} positions. Give at most that"
            )
        return self

    def build_run_settings(self, encoder: Path) -> TrainConfig:
        """Return the settings of the finished captioner as those of a run on images, which evaluation reads.

        The frozen encoder of that run is the captioner's own, in the folder `encoder`, and its language model the decoder.
        """
        sizes = self.captioner
        return TrainConfig(
            task=self.task,
            data=self.data,
            clip=CaptionerEncoderConfig(
                kind="captioner", model=str(encoder.resolve()), features="grid", precision="auto", batch_size=256
            ),
            # An identity mapper skips adapters; that of a blind captioner says so to reports.
            adapter=AdapterConfig(blind=AdapterSettings())
            if self.is_blind
            else AdapterConfig(gaussian=NoiseSettings()),
            mapper=IdentityMapperConfig(name="identity", num_tokens=1),
            lm=ScratchLM(
                kind="scratch",
                name=f"{sizes.name} decoder, objective={self.objective}",
                architecture="captioner",
                vocab_size=sizes.vocab_size,
                config=self.decoder_settings,
                learning_rate=self.train.learning_rate,
                learning_rates={},
                warmup_steps=self.train.warmup_steps,
            ),
            train=self.train,
            embedding_cache=EmbeddingCacheConfig(
                folder=self.pixel_cache, dtype="float32", shard_rows=2048, image_workers="auto"
            ),
            noise=0.0,
            noise_rule=None,
            noise_variance=None,
            noise_cosine=None,
            statistics=None,
            seed=self.seed,
            output=self.output,
            resume=None,
            exclude_overlap_with=self.exclude_overlap_with,
            exclude_overlap_column=self.exclude_overlap_column,
            runs=str(Path(self.output).parent),
            device=self.device,
        )
