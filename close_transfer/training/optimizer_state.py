"""State of the optimiser and of the loss scaler of fp16 as named tensors, for safetensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

Scaler = torch.amp.GradScaler | None  # None in every precision but fp16

# Values of the scaler's state that change in training, and their types. No parameter has this name: none has a slash.
_SCALER = "loss_scaler/"
_SCALER_TYPES = {"scale": torch.float32, "_growth_tracker": torch.int32}


def collect_optimizer_tensors(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, scaler: Scaler = None
) -> dict[str, Tensor]:
    """Return the optimiser's state by "parameter/slot", and the scale of a loss in fp16, on the CPU."""
    state = {} if scaler is None else scaler.state_dict()
    tensors = {_SCALER + key: torch.tensor(state[key], dtype=dtype) for key, dtype in _SCALER_TYPES.items() if state}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{key}"] = value.detach().cpu().contiguous()
    return tensors


def restore_optimizer(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    scaler: Scaler = None,
) -> None:
    """Restore the state that `collect_optimizer_tensors` returned.

    A scale is left out if the run is continued without a scaler, in another precision, and a scaler without a saved
    scale finds one.

    Raises:
        ValueError: if the tensors are not those of this model.
    """
    parameters = dict(model.named_parameters())
    # AdamW keeps its step count on the CPU, but next to the moments if one kernel or a graph does the update.
    steps_on_device = any(optimizer.defaults.get(kind) for kind in ("fused", "capturable"))
    scales = {key.removeprefix(_SCALER): value for key, value in tensors.items() if key.startswith(_SCALER)}
    if scaler is not None and scales:
        _restore_scaler(scaler, scales)
    for key, tensor in tensors.items():
        if key.startswith(_SCALER):
            continue
        name, _, slot = key.rpartition("/")
        if name not in parameters:
            raise ValueError(f"{key} does not belong to a parameter of the model")
        parameter = parameters[name]
        if slot not in ("step", "exp_avg", "exp_avg_sq") or (slot != "step" and tensor.shape != parameter.shape):
            raise ValueError(f"{key} has shape {tuple(tensor.shape)}, and its parameter {tuple(parameter.shape)}")
        is_on_device = slot != "step" or steps_on_device
        optimizer.state[parameter][slot] = tensor.to(parameter.device) if is_on_device else tensor


def _restore_scaler(scaler: torch.amp.GradScaler, values: Mapping[str, Tensor]) -> None:
    """Restore the scale and the number of steps since it last changed; the rates of its growth are settings."""
    if set(values) != set(_SCALER_TYPES) or any(value.numel() != 1 for value in values.values()):
        raise ValueError(f"the loss scaler has {', '.join(sorted(values))}, and needs one scale and _growth_tracker")
    scaler.load_state_dict(scaler.state_dict() | {key: value.item() for key, value in values.items()})
