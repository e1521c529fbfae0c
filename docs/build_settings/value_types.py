"""Allowed values of a setting, in words, from the type in its schema."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WIDEST = 10**6  # larger bounds only keep numbers within the limits of libraries, so they are not printed
_NAMES = {str: "text", bool: "`true` or `false`", Any: "anything"}
_BOUNDS = (
    (annotated_types.Ge, "ge", "≥"),
    (annotated_types.Gt, "gt", ">"),
    (annotated_types.Le, "le", "≤"),
    (annotated_types.Lt, "lt", "<"),
)


def describe_field(info: FieldInfo) -> str:
    """Return the type of a field in words."""
    return describe_type(info.annotation, tuple(info.metadata))


def describe_type(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """Return a type in words, such as "one of `a`, `b`" or "number > 0, or `null`"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe_type(arguments[0], (*arguments[1:], *metadata))
    if origin in (Union, UnionType):
        return _describe_union(arguments, metadata)
    if origin is Literal:
        words = [f"`{value}`" for value in arguments]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if annotation in (int, float):
        return _describe_number(annotation, metadata)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"list of: {describe_type(arguments[0])}"
        return f"list: {', '.join(map(describe_type, arguments))}"
    if origin is dict:
        return f"mapping to: {describe_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "settings"
    return _NAMES.get(annotation, "text")


def list_models(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings classes in a type: the type itself, or the members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return [model for member in get_args(annotation) for model in list_models(member)]
    return []


def _describe_union(members: tuple[Any, ...], metadata: tuple[Any, ...]) -> str:
    words = [describe_type(member, metadata) for member in members if member is not NoneType]
    if NoneType in members:
        words.append("`null`")
    return ", or ".join(dict.fromkeys(words))


def _describe_number(annotation: Any, metadata: tuple[Any, ...]) -> str:
    bounds = {}
    for info in metadata:
        for part in getattr(info, "metadata", None) or [info]:
            for kind, attribute, sign in _BOUNDS:
                if isinstance(part, kind) and abs(getattr(part, attribute)) < _WIDEST:
                    bounds[sign] = f"{getattr(part, attribute):g}"
    if bounds.get("≥") == "0" and len(bounds) == 1:
        limits = " ≥ 0"
    else:
        limits = " " + " and ".join(f"{sign} {bound}" for sign, bound in bounds.items()) if bounds else ""
    return f"{'integer' if annotation is int else 'number'}{limits}"
