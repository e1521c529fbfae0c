"""Settings of the command that compares results."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from close_transfer.config.choices import Given, as_tuple
from close_transfer.core.roles import Role
from close_transfer.core.schema import Positive, StrictModel


def _require_globs(value: Any) -> Any:
    if value in ("", "???"):
        raise ValueError("has no default. Give the results to compare, for example results='runs/**/results.json'")
    return as_tuple(value)


class CompareResultsConfig(StrictModel):
    """Settings of `compare_results.py`."""

    results: Annotated[tuple[Given, ...], Field(min_length=1), BeforeValidator(_require_globs)]
    compare: Annotated[tuple[str, ...], Role.REPORTING]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    output: Annotated[str, Role.LOCATION]

    @model_validator(mode="after")
    def _check_compare(self) -> "CompareResultsConfig":
        if len(self.compare) not in (0, 2):
            raise ValueError(
                f"compare={','.join(self.compare)}: a comparison needs two evaluations. Give compare=[A,B], or leave it out"
            )
        return self
