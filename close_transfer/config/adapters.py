"""Settings of each adapter, and the chain that a command line names."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_serializer, model_validator

from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel

_Finite = Annotated[float, Field(ge=-1e6, le=1e6)]


class AdapterSettings(StrictModel):
    """Settings of one adapter, and the facts about it that other settings depend on; used directly if it has none."""

    adds_noise: ClassVar[bool] = False  # True for adapters of class `Noise`, whose scale is `noise=`

    @property
    def has_own_noise_scale(self) -> bool:
        """Return True if the scale of the noise comes from statistics, so that `noise=` and rules cannot set it."""
        return False


class NoiseSettings(AdapterSettings):
    """Settings of an adapter that adds noise; used directly if the noise has no settings but its scale."""

    adds_noise = True


class CovarianceNoiseSettings(NoiseSettings):
    """Source of the noise's covariance."""

    shape: Literal["text", "difference"]

    @property
    def has_own_noise_scale(self) -> bool:
        return self.shape == "difference"


class RandomShiftSettings(AdapterSettings):
    """Length and seed of a fixed random vector."""

    length: AboveZero
    seed: Natural


class MeanShiftSettings(AdapterSettings):
    """Length of the shift, in units of the difference of the means."""

    scale: _Finite


class StandardizeSettings(AdapterSettings):
    """Smallest scale of a coordinate, as a share of the mean scale."""

    floor: AboveZero


class WhitenSettings(AdapterSettings):
    """Weight of the mean variance in each direction's variance."""

    shrinkage: Annotated[float, Field(ge=0, le=1)]


class TruncateSettings(AdapterSettings):
    """Number of directions that are kept."""

    directions: Positive


class LowRankSettings(AdapterSettings):
    """Number of directions that are corrected, and the longest correction."""

    directions: Positive
    bound: AboveZero


class AdapterConfig(StrictModel):
    """Adapters that change a vector before the mapper, by name, in the order in which they were given."""

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
    def _record_order(cls, values: Any, handler: ModelWrapValidatorHandler["AdapterConfig"]) -> "AdapterConfig":
        config = handler(values)
        if isinstance(values, Mapping):
            config._order = tuple(name for name in values if getattr(config, name) is not None)
        if not config._order:
            raise ValueError(
                "there is no adapter. Give at least one, such as adapter=gaussian or adapter=[remove_mean,gaussian]"
            )
        return config

    @model_serializer
    def _serialize(self) -> dict[str, Any]:
        return {
            step["name"]: {key: value for key, value in step.items() if key != "name"} for step in self.list_steps()
        }

    def list_steps(self) -> list[dict[str, Any]]:
        """Return the adapters in order, each with its name and settings."""
        return [{"name": name, **getattr(self, name).model_dump()} for name in self._order]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the adapters in order."""
        return self._order

    @property
    def settings(self) -> tuple[AdapterSettings, ...]:
        """Return the settings of the adapters in order."""
        return tuple(getattr(self, name) for name in self._order)

    @property
    def noise_names(self) -> tuple[str, ...]:
        """Return the names of the adapters that add noise."""
        return tuple(name for name in self._order if getattr(self, name).adds_noise)

    @property
    def own_noise_scale(self) -> str | None:
        """Return the adapter whose noise has its own scale; None if `noise=` or a rule gives the scale."""
        return next((name for name in self._order if getattr(self, name).has_own_noise_scale), None)
