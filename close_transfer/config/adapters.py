"""Settings of each adapter, and the chain that a command line names."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_serializer, model_validator

from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel

_Finite = Annotated[float, Field(ge=-1e6, le=1e6)]


class NoSettings(StrictModel):
    """Of an adapter that has none of its own; noise takes its scale from `noise=`."""


class CovarianceNoiseSettings(StrictModel):
    """Whose covariance the noise has."""

    shape: Literal["text", "difference"]


class RandomShiftSettings(StrictModel):
    """A fixed random vector."""

    length: AboveZero
    seed: Natural


class MeanShiftSettings(StrictModel):
    """How far to move, in units of the distance of the means."""

    scale: _Finite


class StandardizeSettings(StrictModel):
    """The least scale of a coordinate, as a share of the mean scale."""

    floor: AboveZero


class WhitenSettings(StrictModel):
    """The share of the mean variance that stands in for each direction's own."""

    shrinkage: Annotated[float, Field(ge=0, le=1)]


class TruncateSettings(StrictModel):
    """How many directions are kept."""

    directions: Positive


class LowRankSettings(StrictModel):
    """How many directions are corrected, and the longest correction."""

    directions: Positive
    bound: AboveZero


class AdapterConfig(StrictModel):
    """What is done to a vector before the mapper sees it: adapters by name, in the order they were given."""

    gaussian: NoSettings | None = None
    uniform_ball: NoSettings | None = None
    random_magnitude: NoSettings | None = None
    cosine_bounded: NoSettings | None = None
    covariance_noise: CovarianceNoiseSettings | None = None
    random_shift: RandomShiftSettings | None = None
    mean_shift: MeanShiftSettings | None = None
    remove_mean: NoSettings | None = None
    standardize: StandardizeSettings | None = None
    mean_trace: NoSettings | None = None
    whiten: WhitenSettings | None = None
    truncate: TruncateSettings | None = None
    low_rank: LowRankSettings | None = None
    linear: NoSettings | None = None
    blind: NoSettings | None = None

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
        return {step["name"]: {key: value for key, value in step.items() if key != "name"} for step in self.steps()}

    def steps(self) -> list[dict[str, Any]]:
        """The adapters in their order, each with its name and settings."""
        return [{"name": name, **getattr(self, name).model_dump()} for name in self._order]

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters in their order."""
        return self._order
