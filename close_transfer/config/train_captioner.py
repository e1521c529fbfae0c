"""Settings of the command that pretrains an image encoder by captioning."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from close_transfer.config.adapters import AdapterConfig, AdapterSettings, NoiseSettings
from close_transfer.config.captioned_images import CaptionedImagesConfig
from close_transfer.config.components import CaptionerEncoderConfig, EmbeddingCacheConfig, IdentityMapperConfig
from close_transfer.config.language_models import ScratchLM
from close_transfer.config.train import TrainConfig

_MASKED_SHARE = 0.75  # the paper's number


class TrainCaptionerConfig(CaptionedImagesConfig):
    """Settings of `train_captioner.py`."""

    reader = "a captioner"

    objective: Literal["cap", "cappa", "parallel", "blind"]
    masked_share: Annotated[float, Field(ge=0, le=1)] | None

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

    def build_run_settings(self, encoder: Path) -> TrainConfig:
        """Return the settings of the finished captioner as those of a run on images, which evaluation reads.

        The frozen encoder of that run is the captioner's own, in the folder `encoder`, and its language model the decoder.
        """
        sizes = self.captioner
        share = "" if self.masked_share in (None, _MASKED_SHARE) else f", masked_share={self.masked_share:g}"
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
                # Names the system in comparisons of results, so it must hold what distinguishes captioners.
                name=f"{sizes.name} decoder, objective={self.objective}{share}",
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
