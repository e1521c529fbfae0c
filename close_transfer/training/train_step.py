"""Optimiser step: forward and backward over the parts of a batch, then an update."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from close_transfer.core.atomic_files import fingerprint
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.training.cross_entropy import CrossEntropyInPlace

Part = TypeVar("Part")


class NonFiniteError(RuntimeError):
    """Error about a loss or gradient that is not finite; this step left the weights as they were.

    Attributes:
        step: number of the step, from 0.
    """

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


def compute_seed(*parts: object) -> int:
    """Return a seed that follows from the parts alone."""
    # 60 bits of the SHA-256: the largest multiple of 4 bits that fits the generator's signed 64.
    return int(fingerprint(str(part) for part in parts)[:15], 16)


def make_generator(*parts: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator whose state follows from the parts alone; devices of other kinds draw other numbers."""
    return torch.Generator(device).manual_seed(compute_seed(*parts))


def sum_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Return the cross-entropy summed over target tokens, in nats.

    Args:
        logits: shape (targets, length, vocabulary); on a CPU they may be overwritten.
        labels: shape (targets, length), `IGNORED` where padded.
        smoothing: share of each target that is spread over the vocabulary.
    """
    return _compute_cross_entropy(logits, labels, smoothing, "sum")


def sum_losses(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Return the cross-entropy of each target, summed over its tokens, shape (targets,); arguments as of `sum_loss`."""
    return _compute_cross_entropy(logits, labels, smoothing, "none").unflatten(0, labels.shape).sum(dim=1)


def _compute_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: float, reduction: Literal["sum", "none"]
) -> Tensor:
    # In 32 bits even if the model computes in 16: sums over a large vocabulary lose digits in 16.
    flat = logits.float().flatten(0, 1)
    if logits.device.type == "cpu" and not smoothing:
        return CrossEntropyInPlace.apply(flat, labels.flatten(), reduction)
    return F.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, reduction=reduction, label_smoothing=smoothing)


@dataclass(frozen=True)
class Measured:
    """Values of a step, on the device: reading one makes the host wait for the step.

    Attributes:
        loss: nats per target token, over all processes; shape (), float32.
        gradient: length of the gradient before clipping; shape (), float32.
        is_finite: True if the step was done, False if the loss or the gradient was not finite; shape ().
    """

    loss: Tensor
    gradient: Tensor
    is_finite: Tensor


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of the next step; an optimiser whose rate is a tensor keeps that tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def train_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Part],
    accelerator: Accelerator,
    compute_loss: Callable[[torch.nn.Module, Part, int], Tensor],
    *,
    clip_grad_norm: float | None,
) -> Measured:
    """Do one optimiser step on this process's parts of the global batch.

    With a fused optimiser the host waits for nothing, so a GPU always has work, and the whole step can be recorded as
    a CUDA graph.

    Args:
        model: network as the accelerator wrapped it, in training mode.
        optimizer: optimiser of the network's trainable parameters.
        parts: parts of this process, on the device; their gradients are accumulated.
        accelerator: devices, processes and precision, for fp16 with a scaler of the loss, which skips steps whose
            scaled gradient overflows.
        compute_loss: function that returns a part's share of the global batch's mean loss; it gets the part's position
            in `parts` too.
        clip_grad_norm: gradient length above which gradients are scaled down; None for no limit.
    """
    optimizer.zero_grad()
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        with nullcontext() if is_last else accelerator.no_sync(model):
            loss = compute_loss(model, part, number)
            # The accelerator averages gradients over processes, but the loss is a mean over the global batch.
            accelerator.backward(loss * accelerator.num_processes)
        total = total + loss.detach()
    total = accelerator.reduce(total, reduction="sum")
    scaler = accelerator.scaler
    if scaler is not None:
        scaler.unscale_(optimizer)
    limit = clip_grad_norm if clip_grad_norm is not None else math.inf
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    is_finite = torch.isfinite(total)
    if scaler is None:
        is_finite &= torch.isfinite(norm)
        _update_if(is_finite, optimizer)
    else:
        scaler.step(optimizer)
        scaler.update()
    return Measured(total, norm, is_finite)


def _update_if(is_finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Update the weights if the gradient is finite; a fused optimiser decides on the device."""
    if optimizer.defaults.get("fused"):
        optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]  # read by fused AdamW, as for GradScaler
        optimizer.step()
    elif is_finite:
        optimizer.step()
