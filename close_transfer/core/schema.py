"""What all settings share: ranges of numbers, text that can be typed, and the class that refuses unknown keys."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

OnBadRows = Literal["error", "skip"]


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


_Number = BeforeValidator(_no_truth)  # pydantic takes true for 1

# Bounds are below what PyTorch takes as a size, as a seed, and as a number of 32 bits.
Positive = Annotated[int, Field(ge=1, lt=2**31), _Number]
Natural = Annotated[int, Field(ge=0, lt=2**63), _Number]
NonNegative = Annotated[float, Field(ge=0, le=1e6), _Number]
AboveZero = Annotated[float, Field(gt=0, le=1e6), _Number]
Share = Annotated[float, Field(gt=0, lt=1), _Number]


def text_fault(text: str) -> str:
    """Why a text can be no setting: no file can be named so, and no file hold it; empty if it can."""
    if "\0" in text:
        return "holds a NUL character; leave it out"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8; type it as UTF-8, and give files names in UTF-8"
    return ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)


class Strict(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    # Config groups of which only the choice counts here; the settings below them cannot be given.
    choices_only: ClassVar[tuple[str, ...]] = ()

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if fault := next(filter(None, map(text_fault, _texts(value))), ""):
            raise ValueError(fault)
        return value


C = TypeVar("C", bound=Strict)
