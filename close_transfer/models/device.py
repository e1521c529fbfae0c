"""Picks the device that a command computes on."""

import torch

from close_transfer.core.errors import UserError


def pick_device(device: str) -> str:
    """ "auto" becomes cuda where there is one, else cpu.

    Raises:
        UserError: if the device is asked for and not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={device}: PyTorch sees no GPU here; use device=cpu or device=auto")
    if device != "cpu" and not device.startswith("cuda"):
        raise UserError(f"device={device}: allowed are auto, cpu, cuda and cuda:NUMBER")
    return device
