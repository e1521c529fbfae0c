"""Optimiser step: forward and backward over the parts of a batch, then an update."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from close_transfer.core.atomic_files import fingerprint
from close_transfer.models.lm_wrappers import IGNORED

Part = TypeVar("Part")


class NonFiniteError(RuntimeError):
    """Error about a loss or gradient that is not finite; the weights are those from before the step."""


def make_generator(*parts: object) -> torch.Generator:
    """Return a CPU generator whose state follows from the parts alone."""
    # 60 bits of the SHA-256: the largest multiple of 4 bits that fits the generator's signed 64.
    seed = int(fingerprint(str(part) for part in parts)[:15], 16)
    return torch.Generator().manual_seed(seed)


def sum_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Return the cross-entropy summed over target tokens, in nats.

    Args:
        logits: shape (targets, length, vocabulary).
        labels: shape (targets, length), `IGNORED` where padded.
        smoothing: share of each target that is spread over the vocabulary.
    """
    # In 32 bits even if the model computes in 16: sums over a large vocabulary lose digits in 16.
    return F.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
    )


def train_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Part],
    accelerator: Accelerator,
    compute_loss: Callable[[torch.nn.Module, Part], Tensor],
    *,
    learning_rate: float,
    clip_grad_norm: float | None,
) -> dict[str, float]:
    """Do one optimiser step on this process's parts of the global batch.

    Args:
        model: network as the accelerator wrapped it, in training mode.
        optimizer: optimiser of the network's trainable parameters.
        parts: parts of this process; their gradients are accumulated.
        accelerator: devices, precision, processes.
        compute_loss: function that returns a part's share of the global batch's mean loss.
        learning_rate: learning rate of this step.
        clip_grad_norm: gradient length above which gradients are scaled down; None for no limit.

    Returns:
        "loss" (nats per target token, over all processes), "gradient" (its length before clipping) and
        "learning_rate".

    Raises:
        NonFiniteError: if the loss or the gradient is not finite; nothing was updated.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad()
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        with nullcontext() if is_last else accelerator.no_sync(model):
            loss = compute_loss(model, part)
            # The accelerator averages gradients over processes, but the loss is a mean over the global batch.
            accelerator.backward(loss * accelerator.num_processes)
        total += loss.detach()
    loss_value = float(accelerator.reduce(total, reduction="sum"))
    limit = clip_grad_norm if clip_grad_norm is not None else math.inf
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit))
    if not (math.isfinite(loss_value) and math.isfinite(norm)):
        raise NonFiniteError(f"the loss is {loss_value} and the gradient length {norm}, so nothing was updated")
    optimizer.step()
    return {"loss": loss_value, "gradient": norm, "learning_rate": learning_rate}
