"""Base class and types of all settings: ranges of numbers, checks of text, refusal of unknown keys."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from close_transfer.core.errors import UserError
from close_transfer.core.roles import Names, Role

OnBadRows = Literal["error", "skip"]


def _refuse_booleans(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


_Number = BeforeValidator(_refuse_booleans)  # pydantic takes true for 1

# The upper bounds keep values within what PyTorch accepts as a size, as a seed and as a 32-bit float.
Positive = Annotated[int, Field(ge=1, lt=2**31), _Number]
Natural = Annotated[int, Field(ge=0, lt=2**63), _Number]
NonNegative = Annotated[float, Field(ge=0, le=1e6), _Number]
AboveZero = Annotated[float, Field(gt=0, le=1e6), _Number]
Share = Annotated[float, Field(gt=0, lt=1), _Number]

_FILE_NAME = re.compile(r"\w[\w.-]{0,99}")


def _require_file_name(value: str) -> str:
    if not _FILE_NAME.fullmatch(value):
        raise ValueError(
            "cannot be a part of a path. Use up to 100 letters, digits, - _ and ., with a letter or digit first"
        )
    return value


# Name that becomes a part of a path: it cannot lead to another folder.
FileName = Annotated[str, AfterValidator(_require_file_name)]


def find_text_error(text: str) -> str:
    """Return the reason why a text cannot be a setting's value, or an empty string if it can.

    Such a text can neither be a file's name nor be written to a file.
    """
    if "\0" in text:
        return "holds a NUL character. Leave it out"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8. Type it as UTF-8, and give files names in UTF-8"
    return ""


def _iterate_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _iterate_texts([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _iterate_texts(item)


def expand_home(value: Any, is_path: bool = False) -> Any:
    """Return a value in whose texts `~/` at the start is the home folder, because no shell expands it in `key=~/...`.

    Args:
        value: text, or a list or dict of them at any depth; other values are returned unchanged.
        is_path: True for a setting that names a place, where `~` alone is the home folder too.
    """
    if isinstance(value, str):
        return str(Path(value).expanduser()) if value.startswith("~/") or (is_path and value == "~") else value
    if isinstance(value, dict):
        return {key: expand_home(item, is_path) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(expand_home(item, is_path) for item in value)
    return value


class StrictModel(BaseModel):
    """Group of settings. Unknown keys are errors, and values cannot be changed afterwards."""

    # pydantic reserves names that begin with `model_`; settings may use them.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    # Config groups of which only the chosen option counts for this command; keys below them are refused.
    choices_only: ClassVar[tuple[str, ...]] = ()

    # Config groups whose files come from others, with the keys of such a file that name further files. These files are
    # data: interpolations, headers and defaults lists in them are refused.
    plain_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    # Of the whole group, because pydantic forbids such a validator for the field that chooses a union's member.
    @model_validator(mode="before")
    @classmethod
    def _expand_home(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        places = [
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(mark, Names) or mark in (Role.LOCATION, Role.ROOT) for mark in field.metadata)
        ]
        try:
            return {name: expand_home(value, name in places) for name, value in values.items()}
        except RecursionError:  # a YAML list that contains itself; the check of types refuses it
            return values

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if fault := next(filter(None, map(find_text_error, _iterate_texts(value))), ""):
            raise ValueError(fault)
        return value


C = TypeVar("C", bound=StrictModel)


_LONGEST_SHOWN = 200


def shorten(value: object) -> str:
    """Return a value as one printable line for a message, cut to 200 characters."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text):,} characters)"


def _explain(error: Mapping[str, Any], members: Collection[str]) -> str:
    # Place 1 of a path may be the tag of a union's member, which pydantic adds and the user did not type.
    path = ".".join(str(part) for place, part in enumerate(error["loc"]) if place != 1 or part not in members)
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    # A validator of a whole group names the setting itself; the group's other values would only distract.
    if not path or message.startswith(f"{path}."):
        return message
    if error["type"] in ("tuple_type", "list_type"):
        return f"{path}={shorten(error['input'])}: should be a list. Give {path}=[{shorten(error['input'])}]"
    if error["type"] == "string_type" and isinstance(error["input"], (int, float)):
        return f"{path}={shorten(error['input'])}: is not text, but a number or true or false. Put it in quotes"
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such key"
    if error["type"] == "missing":
        return f"{path}: missing. Give {path}=VALUE"
    return f"{path}={shorten(error['input'])}: {message[0].lower()}{message[1:]}"


def validate(schema: type[C], values: Mapping[str, Any], members: Collection[str] = ()) -> C:
    """Check composed values against a schema.

    Args:
        schema: class of the settings.
        values: values that Hydra composed for it.
        members: tags of union members, which pydantic adds to the path of a mistake and messages leave out.

    Returns:
        The checked settings.

    Raises:
        UserError: lists every mistake, one per line.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        lines = [_explain(e, members) for e in error.errors()]
        raise UserError(
            "; ".join(lines) if len(lines) == 1 else "\n".join(["several settings cannot be used:", *lines])
        ) from None


def describe_first_problem(error: ValidationError) -> str:
    """Return place and reason of the first value that does not fit, such as "noise.std: input should be a number"."""
    first = error.errors()[0]
    location, reason = ".".join(map(str, first["loc"])) or "the whole", first["msg"]
    return f"{location}: {reason[0].lower()}{reason[1:]}"[:200]
