"""Safetensors files of weights: their headers, and models that are too large for them.

A config.json of others may describe a model of any size. Building it could take hours or all memory, so its size is compared with
the header of the weights first.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook

from close_transfer.core.atomic_files import damaged_file_error
from close_transfer.core.errors import UserError

# A model has more parameters than saved tensors if it shares some (T5 has four names for one embedding).
_SHARED = 64


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a file's tensors by name, from its header.

    Raises:
        UserError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise damaged_file_error(path, "it is missing")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged_file_error(path, str(error)) from error


def count_tensors(folder: Path) -> int | None:
    """Return the number of tensors in a folder's safetensors files; None if it is not a folder here, or holds none.

    Raises:
        UserError: if a file is damaged.
    """
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return sum(len(read_shapes(path)) for path in files) if files else None


@contextmanager
def limit_parameters(num_tensors: int | None, source: str) -> Iterator[None]:
    """Stop building a model within the block as soon as it has more parameters than the weights hold.

    Args:
        num_tensors: number of saved tensors; None sets no limit.
        source: file that describes the model, for the message.

    Raises:
        UserError: if the model is larger.
    """
    if num_tensors is None:
        yield
        return
    count, limit, thread = 0, 2 * num_tensors + _SHARED, threading.get_ident()

    def count_parameter(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None) -> None:
        nonlocal count
        if parameter is None or threading.get_ident() != thread:
            return
        count += 1
        if count > limit:
            raise UserError(
                f"{source}: describes a larger model than its weights, which hold {num_tensors} tensors. Restore both files "
                "from a copy"
            )

    handle = register_module_parameter_registration_hook(count_parameter)
    try:
        yield
    finally:
        handle.remove()


def check_shapes(expected: Mapping[str, Tensor], path: Path) -> None:
    """Check that a file holds exactly the tensors of a model.

    Args:
        expected: tensors that should have been saved, by name, with the same object under each name of a shared one; shared
            tensors are saved once. Their values are not read, so they may be on the meta device.
        path: safetensors file.

    Raises:
        UserError: if the file is damaged, lacks a tensor, or has one more or one of another shape.
    """
    shapes = read_shapes(path)
    for name, shape in shapes.items():
        if name not in expected:
            raise damaged_file_error(path, f"it holds the tensor {name}, which config.json does not describe")
        if tuple(expected[name].shape) != shape:
            wanted = tuple(expected[name].shape)
            raise damaged_file_error(path, f"{name} has shape {shape}, but config.json describes {wanted}")
    saved = {id(expected[name]) for name in shapes}
    missing = [name for name, tensor in expected.items() if id(tensor) not in saved]
    if missing:
        raise damaged_file_error(path, f"it lacks {len(missing)} tensors, for example {missing[0]}")
