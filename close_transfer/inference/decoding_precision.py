"""Precision of decoding: the one that a device decodes in, and the computing in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from close_transfer.config.choices import DecodingPrecision
from close_transfer.core.errors import UserError
from close_transfer.encoders.precision import cast_products, has_bf16


def resolve_decoding_precision(setting: DecodingPrecision, device: str) -> Literal["fp32", "bf16"]:
    """Return the precision of a setting on a device; "auto" is bf16 on a GPU that has it, else fp32.

    Raises:
        UserError: if the device is a GPU without bf16 and the setting asks for it.
    """
    if setting == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    if setting == "bf16" and device.startswith("cuda") and not has_bf16(device):
        raise UserError("decoding in bf16: this GPU does not compute in it. Give fp32 or auto")
    return setting


@contextmanager
def decode_in(precision: Literal["fp32", "bf16"], lm: PreTrainedModel) -> Iterator[None]:
    """Compute matrix products in this precision, except the logits.

    Logits of bf16 have three digits, so several likely words would have equal ones, and other texts would win.
    """
    head, device = lm.get_output_embeddings(), lm.device.type
    with cast_products(precision, device):
        if precision == "fp32" or head is None:
            yield
            return
        with _keep_precision(head, device):
            yield


@contextmanager
def _keep_precision(layer: nn.Module, device: str) -> Iterator[None]:
    """Let a layer compute in the precision of its weights."""
    forward, dtype = layer.forward, next(layer.parameters()).dtype
    before = vars(layer).get("forward")  # a surrounding block or another library may have set one

    def compute(states: Tensor) -> Tensor:
        with torch.autocast(device, enabled=False):
            return forward(states.to(dtype))

    layer.forward = compute
    try:
        yield
    finally:
        if before is None:
            del layer.forward
        else:
            layer.forward = before
