"""Optimiser state as named tensors, for safetensors."""

from collections.abc import Mapping

import torch
from torch import Tensor


def collect_optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state by "parameter/slot", on the CPU."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{key}"] = value.detach().cpu().contiguous()
    return tensors


def restore_optimizer(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that `collect_optimizer_tensors` returned.

    Raises:
        ValueError: if the tensors are not those of this model.
    """
    parameters = dict(model.named_parameters())
    # AdamW keeps its step count on the CPU, but next to the moments if one kernel or a graph does the update.
    steps_on_device = any(optimizer.defaults.get(kind) for kind in ("fused", "capturable"))
    for key, tensor in tensors.items():
        name, _, slot = key.rpartition("/")
        if name not in parameters:
            raise ValueError(f"{key} does not belong to a parameter of the model")
        parameter = parameters[name]
        if slot not in ("step", "exp_avg", "exp_avg_sq") or (slot != "step" and tensor.shape != parameter.shape):
            raise ValueError(f"{key} has shape {tuple(tensor.shape)}, and its parameter {tuple(parameter.shape)}")
        is_on_device = slot != "step" or steps_on_device
        optimizer.state[parameter][slot] = tensor.to(parameter.device) if is_on_device else tensor
