"""The device that a command computes on."""

import torch

from close_transfer.core.errors import UserError


def pick_device(device: str) -> str:
    """Return the device of a setting; "auto" is cuda if there is a GPU, else cpu.

    Raises:
        UserError: if the device is not allowed, or is not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device}: PyTorch sees no GPU on this machine. Use device=cpu or device=auto")
    if device != "cpu" and not device.startswith("cuda"):
        raise UserError(f"device={device} is not a device. Give auto, cpu, cuda or cuda:NUMBER")
    return device
