"""What all settings share: ranges of numbers, text that can be typed, and the class that refuses unknown keys."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from close_transfer.core.errors import UserError

OnBadRows = Literal["error", "skip"]


def _refuse_booleans(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


_Number = BeforeValidator(_refuse_booleans)  # pydantic takes true for 1

# Bounds are below what PyTorch takes as a size, as a seed, and as a number of 32 bits.
Positive = Annotated[int, Field(ge=1, lt=2**31), _Number]
Natural = Annotated[int, Field(ge=0, lt=2**63), _Number]
NonNegative = Annotated[float, Field(ge=0, le=1e6), _Number]
AboveZero = Annotated[float, Field(gt=0, le=1e6), _Number]
Share = Annotated[float, Field(gt=0, lt=1), _Number]


def find_text_error(text: str) -> str:
    """Why a text can be no setting: no file can be named so, and no file hold it; empty if it can."""
    if "\0" in text:
        return "holds a NUL character; leave it out"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8; type it as UTF-8, and give files names in UTF-8"
    return ""


def _iterate_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _iterate_texts([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _iterate_texts(item)


class StrictModel(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    # Config groups of which only the choice counts here; the settings below them cannot be given.
    choices_only: ClassVar[tuple[str, ...]] = ()

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if fault := next(filter(None, map(find_text_error, _iterate_texts(value))), ""):
            raise ValueError(fault)
        return value


C = TypeVar("C", bound=StrictModel)


_LONGEST_SHOWN = 200


def shorten(value: object) -> str:
    """A value on one line, and not all of it where it is long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text):,} characters)"


def _explain(error: Mapping[str, Any], members: Collection[str]) -> str:
    path = ".".join(str(part) for place, part in enumerate(error["loc"]) if place != 1 or part not in members)
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    # What is wrong within a part names its setting, and need not show the part.
    if not path or message.startswith(f"{path}."):
        return message
    if error["type"] in ("tuple_type", "list_type"):
        return f"{path}={shorten(error['input'])}: should be a list; give {path}=[{shorten(error['input'])}]"
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such key"
    if error["type"] == "missing":
        return f"{path}: missing; give {path}=VALUE"
    return f"{path}={shorten(error['input'])}: {message[0].lower()}{message[1:]}"


def validate(schema: type[C], values: Mapping[str, Any], members: Collection[str] = ()) -> C:
    """Checks composed values against a schema.

    Args:
        schema: the class of the settings.
        values: what was composed for it.
        members: names of unions' members, which pydantic puts into the path of a mistake and no user typed.

    Raises:
        UserError: listing every mistake, one a line.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        lines = [_explain(e, members) for e in error.errors()]
        raise UserError(
            "; ".join(lines) if len(lines) == 1 else "\n".join(["several settings cannot be used:", *lines])
        ) from None
