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
    """Restore the state that `collect_optimizer_tensors` returned."""
    parameters = dict(model.named_parameters())
    for key, tensor in tensors.items():
        name, slot = key.rsplit("/", 1)
        parameter = parameters[name]
        # AdamW keeps its step count on the CPU, and its moments on the parameter's device.
        optimizer.state[parameter][slot] = tensor if slot == "step" else tensor.to(parameter.device)
