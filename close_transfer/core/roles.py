"""Roles of settings: if a setting decides a result, and if it may be published.

A role is annotated once, on the field of a schema: ``output: Annotated[str, Role.LOCATION]``. Code that compares two runs
or publishes settings reads the roles from the schema and keeps no list of names.
"""

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel


class Role(Enum):
    """Role of a setting in the result of a command; `IDENTITY` if none is annotated."""

    IDENTITY = "decides the result"
    LOCATION = "folders, files and device of this machine: never changes a result, and is of no use to others"
    # Not a LOCATION, because resuming a training needs the same root: the files below another root are not compared.
    ROOT = "folder that names of files are relative to: the same names below another root are the same system"
    REPORTING = "additional logs, displays and measurements: never changes an answer"
    # Not REPORTING, because a resumed training gives the same bits only with the same value.
    THROUGHPUT = "amount of work done at once: changes results by rounding only"
    SEED = "number of a run among several runs of one system"
    TEST = "test examples and references: decides the scores of a system, not the system"
    LABEL = "text about a system in tables"
    FINGERPRINTED = "path of content that decides the result: the content's fingerprint is compared instead"
    KEYED = "part of the names of the files that depend on it"
    BUDGET = "limit on spending, which a later command may raise"


class Names(Enum):
    """Kind of name that a setting's text is; only the last part of a path may be published."""

    FILE = "a file or folder"
    FILE_OR_HUB = "a file or folder, or a public name, of the hub or of open_clip, that works on any machine"


class Writes(Enum):
    """Kind of output that a setting names; it is checked before the work."""

    FILE = "a file"
    FOLDER = "a folder"


class CountsWith:
    """A mark of settings that have an effect only if one of the settings `others` is given."""

    def __init__(self, *others: str) -> None:
        self.others = others


def get_role(schema: type[BaseModel], name: str) -> Role:
    """Return the role of a field; `IDENTITY` if none is annotated."""
    return next((mark for mark in schema.model_fields[name].metadata if isinstance(mark, Role)), Role.IDENTITY)


def list_fields(schema: type[BaseModel], *roles: Role) -> tuple[str, ...]:
    """Return the names of the schema's own fields that have one of the roles, in their order."""
    return tuple(name for name in schema.model_fields if get_role(schema, name) in roles)


def find_naming_fields(schema: type[BaseModel], kind: Names) -> set[str]:
    """Return the names of fields, at any depth, whose texts are names of this kind."""
    names = {name for name, field in schema.model_fields.items() if kind in field.metadata}
    for field in schema.model_fields.values():
        for part in _find_schemas(field.annotation):
            names |= find_naming_fields(part, kind)
    return names


def drop_settings(schema: type[BaseModel], settings: Mapping[str, Any], *roles: Role) -> dict[str, Any]:
    """Return the settings without those, at any depth, that have one of the roles.

    Args:
        schema: class of the settings.
        settings: settings, as `model_dump` returns them or a file holds them; keys that are not in the schema stay.
        roles: roles of the settings to drop.
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
    """Return the settings without those that have no effect, because no setting of their `CountsWith` is given."""
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
    """Return the schema that fits a value's literals (`name`, `kind`); None if the value is not a mapping or none fits."""
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
