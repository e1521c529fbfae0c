"""Roles of settings: influence on a result, and content that must not be published.

A role is annotated on the field of a schema, once: ``output: Annotated[str, Role.LOCATION]``. Code that compares two runs,
or publishes settings, asks the schema and keeps no list of names.
"""

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel


class Role(Enum):
    """Role of a setting in the result of a command; `IDENTITY` if none is annotated."""

    IDENTITY = "decides the result"
    LOCATION = "where things are kept and what they run on: never changes a result, and is of no use to others"
    # Apart from LOCATION because a resumed training asks for the same root: nobody compares the files below another one.
    ROOT = "the folder that names of files are relative to: the same names elsewhere are the same system"
    REPORTING = "what is logged, shown or measured in addition: the answers stay as they are"
    # Apart from REPORTING because a resumed training is the same to the last bit only with the same one.
    THROUGHPUT = "how much is done at once: results agree but for rounding"
    SEED = "which of several runs of one system it is"
    TEST = "what is asked and what answers are scored against: decides the numbers of a system, not the system"
    LABEL = "what tables say about a system"
    FINGERPRINTED = "decides through the content it leads to, whose fingerprint counts in its place"
    KEYED = "counts in the names of those files that it concerns"
    BUDGET = "how much may be spent: a later command may raise it"


class Names(Enum):
    """Kind of name in a setting's text; only the last part of a path may be published."""

    FILE = "a file or folder"
    FILE_OR_HUB = "a file or folder, or something that everybody can load by that name: of the hub, of open_clip"


class CountsWith:
    """A mark of settings that count only if one of `others` is given, whether or not they are given themselves."""

    def __init__(self, *others: str) -> None:
        self.others = others


def get_role(schema: type[BaseModel], name: str) -> Role:
    """Return the role of a field."""
    return next((mark for mark in schema.model_fields[name].metadata if isinstance(mark, Role)), Role.IDENTITY)


def fields_with(schema: type[BaseModel], *roles: Role) -> tuple[str, ...]:
    """Return the names of the schema's own fields that have one of the roles, in their order."""
    return tuple(name for name in schema.model_fields if get_role(schema, name) in roles)


def names_with(schema: type[BaseModel], kind: Names) -> set[str]:
    """Return the names of fields, at any depth, whose texts name such things."""
    names = {name for name, field in schema.model_fields.items() if kind in field.metadata}
    for field in schema.model_fields.values():
        for part in _find_schemas(field.annotation):
            names |= names_with(part, kind)
    return names


def drop_settings(schema: type[BaseModel], settings: Mapping[str, Any], *roles: Role) -> dict[str, Any]:
    """Return settings, at any depth, without those that have one of the roles.

    Args:
        schema: the class that the settings are of.
        settings: as `model_dump` gives them, or as a file holds them; keys that are not in the schema stay.
        roles: those to leave out.
    """
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in schema.model_fields:
            kept[name] = value
        elif get_role(schema, name) not in roles:
            part = _choose_schema(schema.model_fields[name].annotation, value)
            kept[name] = value if part is None else drop_settings(part, value, *roles)
    return kept


def drop_idle_settings(schema: type[BaseModel], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those that count only with others (`CountsWith`), none of which is given."""
    return {
        name: value
        for name, value in settings.items()
        if name not in schema.model_fields
        or all(any(map(settings.get, mark.others)) for mark in _get_conditions(schema, name))
    }


def _get_conditions(schema: type[BaseModel], name: str) -> list[CountsWith]:
    return [mark for mark in schema.model_fields[name].metadata if isinstance(mark, CountsWith)]


def _find_schemas(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the schemas that an annotation consists of, through unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            yield from _find_schemas(argument)


def _choose_schema(annotation: Any, value: Any) -> type[BaseModel] | None:
    """Return the schema that a value is of, told apart by its literals (`name`, `kind`); None if it is of none."""
    if not isinstance(value, Mapping):
        return None
    schemas: Collection[type[BaseModel]] = list(_find_schemas(annotation))
    return next((schema for schema in schemas if _fits(schema, value)), None)


def _fits(schema: type[BaseModel], value: Mapping[str, Any]) -> bool:
    return all(
        value[name] in get_args(field.annotation)
        for name, field in schema.model_fields.items()
        if name in value and get_origin(field.annotation) is Literal
    )
