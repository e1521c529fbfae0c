"""Texts as they were typed: a name such as 20261127, 1e5 or true is text if its setting takes nothing but text."""

import re
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from pydantic import BaseModel

# A list of plain words, whose items can be quoted one by one.
_PLAIN_LIST = re.compile(r"\[[^\[\]{}()'\"\\\\]*\]")


def quote_text(schema: type[BaseModel], key: str, value: str) -> str:
    """Return a typed value in quotes if Hydra would read a number, true or false where the setting takes only text.

    Args:
        schema: class of the command's settings.
        key: dotted name of the setting.
        value: value as typed, whose grammar Hydra accepts.
    """
    annotations = list(_find_annotations(schema, key.split(".")))
    if not annotations or not all(_takes_only_text(annotation) for annotation in annotations):
        return value
    if not _PLAIN_LIST.fullmatch(value):
        return _quote_number(value)
    items = [_quote_number(item.strip()) for item in value[1:-1].split(",")]
    return f"[{','.join(items)}]"


def _quote_number(value: str) -> str:
    try:
        parsed = OverridesParser.create().parse_override(f"key={value}").value()
    except (HydraException, ValueError):
        return value
    return f'"{value}"' if isinstance(parsed, (bool, int, float)) else value


def _find_annotations(annotation: Any, parts: Sequence[str]) -> Iterator[Any]:
    """Yield the annotations of a dotted name, one per member of a union that has it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not parts:
            yield annotation
        elif parts[0] in annotation.model_fields:
            yield from _find_annotations(annotation.model_fields[parts[0]].annotation, parts[1:])
    elif get_origin(annotation) is Annotated:
        yield from _find_annotations(get_args(annotation)[0], parts)
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _find_annotations(member, parts)
    elif parts and get_origin(annotation) is dict:
        yield from _find_annotations(get_args(annotation)[1], parts[1:])
    elif not parts:
        yield annotation


def _takes_only_text(annotation: Any) -> bool:
    """Return True for text, names of options, lists of them, and None."""
    if get_origin(annotation) is Literal:
        return all(isinstance(option, str) for option in get_args(annotation))
    if get_origin(annotation) in (tuple, list):
        members = [member for member in get_args(annotation) if member is not Ellipsis]
        return all(_takes_only_text(leaf) for member in members for leaf in _find_annotations(member, ()))
    return annotation in (str, type(None))
