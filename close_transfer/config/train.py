"""Settings of training."""

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from close_transfer.config.adapters import AdapterConfig
from close_transfer.config.choices import AutoNoise, NoiseRule, as_tuple
from close_transfer.config.components import (
    ClipConfig,
    EmbeddingCacheConfig,
    IdentityMapperConfig,
    LoopConfig,
    MapperConfig,
    TaskConfig,
)
from close_transfer.config.data import DataConfig
from close_transfer.config.language_models import LMConfig, ScratchLM
from close_transfer.core.roles import Names, Role, Writes
from close_transfer.core.schema import Natural, NonNegative, StrictModel

# Splits of the training data that `exclude_overlap_with` takes by name; any other value is a file.
LEAK_SPLITS = ("val", "test")

_UNITS = {
    "noise": "a standard deviation",
    "noise_variance": "a variance",
    "noise_cosine": "an expected cosine",
}

DEFAULT_NOISE_RULE: NoiseRule = "largest_coordinate"


def _parse_noise(value: Any) -> Any:
    """Check a value of `noise`; pydantic's error for a union would list every member."""
    if value in (None, *get_args(AutoNoise)):
        return value
    try:
        return TypeAdapter(NonNegative).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"] if not isinstance(value, str) else "is not a number"
        raise ValueError(f"{reason}. Give 0 or more, or one of {', '.join(get_args(AutoNoise))}") from None


class TrainConfig(StrictModel):
    """Settings of `train_text_only.py` and `train_on_images.py`."""

    task: TaskConfig
    data: DataConfig
    clip: ClipConfig
    adapter: AdapterConfig
    mapper: MapperConfig
    lm: LMConfig
    train: LoopConfig
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]
    noise: Annotated[NonNegative | AutoNoise | None, BeforeValidator(_parse_noise)]
    noise_rule: NoiseRule | None
    noise_variance: NonNegative | None
    noise_cosine: Annotated[float, Field(gt=0, le=1)] | None
    statistics: Annotated[str | None, Names.FILE]
    seed: Annotated[Natural, Role.SEED]
    output: Annotated[str | None, Role.LOCATION, Writes.FOLDER]
    resume: Annotated[str | None, Role.LOCATION]
    exclude_overlap_with: Annotated[
        tuple[str, ...] | None, BeforeValidator(as_tuple), Names.FILE
    ]  # `LEAK_SPLITS` and files of texts
    exclude_overlap_column: str
    runs: Annotated[str, Role.LOCATION]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="after")
    def _check_noise(self) -> "TrainConfig":
        noises = {name: getattr(self, name) for name in _UNITS if getattr(self, name) is not None}
        if len(noises) > 1:
            settings = " and ".join(f"{name}={value} ({_UNITS[name]})" for name, value in noises.items())
            raise ValueError(f"{settings} are given together. Give one of them")
        if any(value != 1 if name == "noise_cosine" else value for name, value in noises.items()):
            self._check_adapter_adds_noise(next(iter(noises.items())))
        return self

    @model_validator(mode="after")
    def _check_noise_rule(self) -> "TrainConfig":
        if self.noise_rule is not None and self.noise != "auto":
            raise ValueError(
                f"noise_rule={self.noise_rule} only applies with noise=auto. Give noise=auto, or leave the rule out"
            )
        return self

    @model_validator(mode="after")
    def _check_adapters(self) -> "TrainConfig":
        adding = self.adapter.noise_names
        if len(adding) > 1:
            raise ValueError(
                f"adapter={','.join(self.adapter.names)}: {' and '.join(adding)} both add noise. Leave one of them out"
            )
        if (name := self.adapter.own_noise_scale) is not None and isinstance(self.noise, str):
            settings = ",".join(f"adapter.{name}.{key}={value}" for key, value in getattr(self.adapter, name))
            raise ValueError(f"noise={self.noise}: {settings} has its own scale. Leave noise out")
        return self

    @model_validator(mode="after")
    def _check_identity_mapper(self) -> "TrainConfig":
        """Check that no adapter is asked for that an identity mapper would skip."""
        if not isinstance(self.mapper, IdentityMapperConfig):
            return self
        adds_nothing = self.noise == 0 and self.adapter.noise_names == self.adapter.names
        is_blind = isinstance(self.lm, ScratchLM) and bool(self.lm.config.get("is_blind"))
        if not is_blind and not (adds_nothing and self.adapter.own_noise_scale is None):
            raise ValueError(
                f"mapper=identity gives the encoder's vectors to the language model as they are, so "
                f"adapter={','.join(self.adapter.names)} and noise would have no effect. Give adapter=gaussian noise=0, or "
                "another mapper"
            )
        return self

    @property
    def encodes_images(self) -> bool:
        """Return True if the image files are read; False if vectors come from files."""
        return self.clip.encodes_images

    @property
    def rule(self) -> NoiseRule:
        """Return the rule of noise=auto."""
        return self.noise_rule or DEFAULT_NOISE_RULE

    def _check_adapter_adds_noise(self, setting: tuple[str, float]) -> None:
        if not self.adapter.noise_names:
            raise ValueError(
                f"{setting[0]}={setting[1]}, but adapter={','.join(self.adapter.names)} adds no noise. Add one that does, "
                f"such as adapter=[{','.join((*self.adapter.names, 'gaussian'))}], or leave {setting[0]} out"
            )

    @model_validator(mode="after")
    def _check_resume(self) -> "TrainConfig":
        if self.resume == "auto" and not self.output:
            raise ValueError("resume=auto needs the folder of the run to continue or start. Give output=FOLDER")
        return self
