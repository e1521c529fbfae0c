"""Precision of matrix products. Weights stay in float32, and so do sums that a network carries from layer to layer."""

from typing import Literal

import torch

from close_transfer.config.choices import Precision

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Older GPUs store numbers of 16 bits but compute with them no faster.
_FIRST_WITH_FAST_HALF = (7, 0)


def resolve_precision(setting: Precision, device: str) -> Literal["fp32", "bf16", "fp16"]:
    """Return the precision of a setting; "auto" is fp32 on a CPU, and 16 bits on a GPU that computes faster with them."""
    if setting != "auto":
        return setting
    if not device.startswith("cuda"):
        return "fp32"
    if has_bf16(device):
        return "bf16"
    return "fp16" if torch.cuda.get_device_capability(device) >= _FIRST_WITH_FAST_HALF else "fp32"


def has_bf16(device: str) -> bool:
    """Return True if the device is a GPU that computes in bf16; others only imitate it, slowly."""
    return device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)


def get_dtype(precision: str) -> torch.dtype:
    """Return the data type of a resolved precision."""
    return _DTYPES[precision]


def cast_products(precision: str, device: str) -> torch.autocast:
    """Return a context in which matrix products are computed in this precision."""
    return torch.autocast(torch.device(device).type, _DTYPES[precision], enabled=precision != "fp32")


def list_key_parts(precision: str) -> list[str]:
    """Return the parts of a vector's key that say its precision."""
    return [] if precision == "fp32" else [precision]
