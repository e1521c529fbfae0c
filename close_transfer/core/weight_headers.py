"""Headers of safetensors files, and models that are too large for them.

A config.json of others may describe a model of any size. Building it could take hours or all memory, so its size is compared with
the header of the weights first.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from close_transfer.core.atomic_files import damaged_file_error
from close_transfer.core.errors import UserError
from close_transfer.core.model_folder import find_model_folder

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


def count_tensors(name: str | Path) -> int | None:
    """Return the number of tensors in a model's safetensors files.

    Args:
        name: folder, or name on the hub, whose weights are in the cache once a library has downloaded them.

    Returns:
        None if there are no such files.

    Raises:
        UserError: if a file is damaged.
    """
    folder = find_model_folder(name)
    # Adapters of peft (adapter_model.safetensors) change another model's weights and are not counted.
    files = [path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_")] if folder else []
    return sum(len(read_header(path)) for path in files) if files else None


@contextmanager
def limit_parameters(count: Callable[[], int | None], source: str, register_hook: Callable[..., Any]) -> Iterator[None]:
    """Stop building a model within the block as soon as it has more parameters than the weights hold.

    Args:
        count: function that returns the number of saved tensors; None sets no limit. It is called at once, so that damaged
            weights are reported first, and at the first parameter, because libraries download weights within the block.
        source: file that describes the model, for the message.
        register_hook: torch's `register_module_parameter_registration_hook`, because this package does not import torch.

    Raises:
        UserError: if the model is larger.
    """
    count()
    num_parameters, num_tensors, thread = 0, None, threading.get_ident()

    def count_parameter(module: Any, name: str, parameter: Any) -> None:
        nonlocal num_parameters, num_tensors
        if parameter is None or threading.get_ident() != thread:
            return
        num_parameters += 1
        if num_parameters == 1:
            num_tensors = count()
        if num_tensors is not None and num_parameters > 2 * num_tensors + _SHARED:
            raise build_size_error(source, f"{num_tensors} tensors")

    handle = register_hook(count_parameter)
    try:
        yield
    finally:
        handle.remove()


def build_size_error(source: str, content: str) -> UserError:
    """Return the error for a config that describes more than the weights, which hold `content`."""
    return UserError(
        f"{source}: describes a larger model than its weights, which hold {content}. Restore both files from a copy"
    )
