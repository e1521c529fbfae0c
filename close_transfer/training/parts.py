"""Parts of a batch: dataclasses whose fields are tensors, dictionaries of tensors, or plain values."""

from collections.abc import Callable, Hashable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from close_transfer.encoders.background import copy_to_device

Part = TypeVar("Part")


def map_tensors(function: Callable[[Tensor], Tensor], part: Part) -> Part:
    """Return the part with a function applied to each of its tensors, in the order of its fields."""
    changed: dict[str, Any] = {}
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if isinstance(value, Tensor):
            changed[field.name] = function(value)
        elif isinstance(value, dict):
            changed[field.name] = {key: function(tensor) for key, tensor in value.items()}
    return replace(part, **changed)  # type: ignore[type-var]


def list_tensors(part: object) -> list[Tensor]:
    """Return the tensors of a part, in the order of its fields."""
    tensors: list[Tensor] = []

    def remember(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    map_tensors(remember, part)
    return tensors


def move_part(part: Part, device: torch.device) -> Part:
    """Return the part on a device; a busy GPU is not waited for."""
    return map_tensors(lambda tensor: copy_to_device(tensor, device), part)


def describe_shape(part: object) -> Hashable:
    """Return the part's plain values and the shapes of its tensors: all that decides which kernels a step starts."""
    plain = [getattr(part, field.name) for field in fields(part)]  # type: ignore[arg-type]
    return (
        tuple(value for value in plain if not isinstance(value, (Tensor, dict))),
        tuple(tuple(tensor.shape) for tensor in list_tensors(part)),
    )
