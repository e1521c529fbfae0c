"""What a schema says of settings that it refuses, as sentences for whoever typed them."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from close_transfer.core.errors import UserError
from close_transfer.core.schema import C

_LONGEST_SHOWN = 200


def short(value: object) -> str:
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
        return f"{path}={short(error['input'])}: should be a list; give {path}=[{short(error['input'])}]"
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such key"
    if error["type"] == "missing":
        return f"{path}: missing; give {path}=VALUE"
    return f"{path}={short(error['input'])}: {message[0].lower()}{message[1:]}"


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
