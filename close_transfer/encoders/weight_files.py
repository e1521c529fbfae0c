"""Comparison of models with the safetensors files that hold their weights."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook

from close_transfer.core import weight_headers
from close_transfer.core.atomic_files import damaged_file_error
from close_transfer.core.weight_headers import read_header


def limit_parameters(count: Callable[[], int | None], source: str) -> AbstractContextManager[None]:
    """Stop building a model within the block, as `weight_headers.limit_parameters`."""
    return weight_headers.limit_parameters(count, source, register_module_parameter_registration_hook)


def check_shapes(expected: Mapping[str, Tensor], path: Path, source: str = "config.json") -> None:
    """Check that a file holds exactly the tensors of a model.

    Args:
        expected: tensors that should have been saved, by name, with the same object under each name of a shared one; shared
            tensors are saved once. Their values are not read, so they may be on the meta device.
        path: safetensors file.
        source: name of the file that describes the model, for messages.

    Raises:
        UserError: if the file is damaged, lacks a tensor, or has one more or one of another shape.
    """
    header = read_header(path)
    for name, (dtype, shape) in header.items():
        if name not in expected:
            raise damaged_file_error(path, f"it holds the tensor {name}, which {source} does not describe")
        if tuple(expected[name].shape) != shape:
            wanted = tuple(expected[name].shape)
            raise damaged_file_error(path, f"{name} has shape {shape}, but {source} describes {wanted}")
        if expected[name].is_floating_point() != dtype.startswith(("F", "BF")):
            raise damaged_file_error(path, f"{name} holds numbers of type {dtype}")
    saved = {id(expected[name]) for name in header}
    missing = [name for name, tensor in expected.items() if id(tensor) not in saved]
    if missing:
        raise damaged_file_error(path, f"it lacks {len(missing)} tensors, for example {missing[0]}")
