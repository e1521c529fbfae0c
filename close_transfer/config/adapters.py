"""Settings of each adapter, and the chain that a command line names."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_serializer, model_validator

from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel

_Finite = Annotated[float, Field(ge=-1e6, le=1e6)]


class AdapterSettings(StrictModel):
    """Settings of one adapter, and the facts about it that other settings depend on; by itself, those without settings."""

    adds_noise: ClassVar[bool] = False  # its class is a `Noise` then, and takes its scale from `noise=`

    @property
    def has_own_noise_scale(self) -> bool:
        """The scale of the noise comes from the statistics, so that no rule can choose it."""
        return False


class NoiseSettings(AdapterSettings):
    """Settings of an adapter that adds noise; by itself, of noise that has a scale only."""

    adds_noise = True


class CovarianceNoiseSettings(NoiseSettings):
    """Whose covariance the noise has."""

    shape: Literal["text", "difference"]

    @property
    def has_own_noise_scale(self) -> bool:
        return self.shape == "difference"


class RandomShiftSettings(AdapterSettings):
    """A fixed random vector."""

    length: AboveZero
    seed: Natural


class MeanShiftSettings(AdapterSettings):
    """How far to move, in units of the distance of the means."""

    scale: _Finite


class StandardizeSettings(AdapterSettings):
    """The least scale of a coordinate, as a share of the mean scale."""

    floor: AboveZero


class WhitenSettings(AdapterSettings):
    """The share of the mean variance that stands in for each direction's own."""

    shrinkage: Annotated[float, Field(ge=0, le=1)]


class TruncateSettings(AdapterSettings):
    """How many directions are kept."""

    directions: Positive


class LowRankSettings(AdapterSettings):
    """How many directions are corrected, and the longest correction."""

    directions: Positive
    bound: AboveZero


class AdapterConfig(StrictModel):
    """What is done to a vector before the mapper sees it: adapters by name, in the order they were given."""

    gaussian: NoiseSettings | None = None
    uniform_ball: NoiseSettings | None = None
    random_magnitude: NoiseSettings | None = None
    cosine_bounded: NoiseSettings | None = None
    covariance_noise: CovarianceNoiseSettings | None = None
    random_shift: RandomShiftSettings | None = None
    mean_shift: MeanShiftSettings | None = None
    remove_mean: AdapterSettings | None = None
    standardize: StandardizeSettings | None = None
    mean_trace: AdapterSettings | None = None
    whiten: WhitenSettings | None = None
    truncate: TruncateSettings | None = None
    low_rank: LowRankSettings | None = None
    linear: AdapterSettings | None = None
    blind: AdapterSettings | None = None

    _order: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _in_order(cls, values: Any, handler: ModelWrapValidatorHandler["AdapterConfig"]) -> "AdapterConfig":
        config = handler(values)
        if isinstance(values, Mapping):
            config._order = tuple(name for name in values if getattr(config, name) is not None)
        if not config._order:
            raise ValueError("give at least one adapter, such as adapter=gaussian or adapter=[remove_mean,gaussian]")
        return config

    @model_serializer
    def _steps(self) -> dict[str, Any]:
        return {
            step["name"]: {key: value for key, value in step.items() if key != "name"} for step in self.list_steps()
        }

    def list_steps(self) -> list[dict[str, Any]]:
        """The adapters in their order, each with its name and settings."""
        return [{"name": name, **getattr(self, name).model_dump()} for name in self._order]

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters in their order."""
        return self._order

    @property
    def settings(self) -> tuple[AdapterSettings, ...]:
        """The settings of the adapters, in their order."""
        return tuple(getattr(self, name) for name in self._order)

    @property
    def noise_names(self) -> tuple[str, ...]:
        """The adapters that add noise."""
        return tuple(name for name in self._order if getattr(self, name).adds_noise)

    @property
    def own_noise_scale(self) -> str | None:
        """The adapter whose noise has its own scale; None if `noise=` or a rule gives the scale."""
        return next((name for name in self._order if getattr(self, name).has_own_noise_scale), None)
