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


def read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return data type (such as "F32") and shape of a file's tensors by name.

    Raises:
        UserError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise damaged_file_error(path, "it is missing")
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return {name: (tensor.get_dtype(), tuple(tensor.get_shape())) for name, tensor in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged_file_error(path, str(error)) from error


def count_tensors(folder: Path) -> int | None:
    """Return the number of tensors in a folder's safetensors files; None if it is not a folder here, or holds none.

    Raises:
        UserError: if a file is damaged.
    """
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return sum(len(read_header(path)) for path in files) if files else None


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
            raise build_size_error(source, f"{num_tensors} tensors")

    handle = register_module_parameter_registration_hook(count_parameter)
    try:
        yield
    finally:
        handle.remove()


def build_size_error(source: str, content: str) -> UserError:
    """Return the error for a config that describes more than the weights, which hold `content`."""
    return UserError(
        f"{source}: describes a larger model than its weights, which hold {content}. Restore both files from a copy"
    )


def check_shapes(expected: Mapping[str, Tensor], path: Path) -> None:
    """Check that a file holds exactly the tensors of a model.

    Args:
        expected: tensors that should have been saved, by name, with the same object under each name of a shared one; shared
            tensors are saved once. Their values are not read, so they may be on the meta device.
        path: safetensors file.

    Raises:
        UserError: if the file is damaged, lacks a tensor, or has one more or one of another shape.
    """
    header = read_header(path)
    for name, (dtype, shape) in header.items():
        if name not in expected:
            raise damaged_file_error(path, f"it holds the tensor {name}, which config.json does not describe")
        if tuple(expected[name].shape) != shape:
            wanted = tuple(expected[name].shape)
            raise damaged_file_error(path, f"{name} has shape {shape}, but config.json describes {wanted}")
        if expected[name].is_floating_point() != dtype.startswith(("F", "BF")):
            raise damaged_file_error(path, f"{name} holds numbers of type {dtype}")
    saved = {id(expected[name]) for name in header}
    missing = [name for name, tensor in expected.items() if id(tensor) not in saved]
    if missing:
        raise damaged_file_error(path, f"it lacks {len(missing)} tensors, for example {missing[0]}")
