"""Cross-entropy on a CPU that works in the memory of the logits.

PyTorch's cross-entropy takes new memory for log-probabilities, for their gradient and for that of the logits, each as
large as the logits: 240 MB for a batch of 128 captions over 32,000 words. The C library returns tensors of that size to
the system, so each step gets new pages, which the system clears first. That takes several times longer than the
arithmetic. A GPU's allocator keeps its memory.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from close_transfer.models.lm_wrappers import IGNORED

# Numbers of the gradient that are computed together, 1 MB: they stay in a core's cache.
_CHUNK = 2**18


class CrossEntropyInPlace(torch.autograd.Function):
    """Cross-entropy of logits, shape (n, vocabulary), which are overwritten if contiguous; equal to PyTorch's to the last bit."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, reduction: Literal["sum", "none"]) -> Tensor:
        # A part of a larger tensor is copied, because PyTorch's kernels write rows without gaps only.
        likely = logits.contiguous()
        torch.log_softmax(likely, dim=-1, out=likely)
        ctx.likely, ctx.labels = likely, labels
        return F.nll_loss(likely, labels, ignore_index=IGNORED, reduction=reduction)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        likely, labels = ctx.likely, ctx.labels
        ctx.likely = None  # it becomes the gradient, so a second backward pass fails instead of being wrong
        # The gradient of the log-probabilities: zeros, except at the labels.
        at_labels = torch.where(labels == IGNORED, torch.zeros_like(gradient), -gradient)[:, None]
        columns = labels.clamp(min=0)[:, None]
        size = max(1, _CHUNK // likely.shape[1])
        zeros = likely.new_zeros(min(size, len(likely)), likely.shape[1])
        for start in range(0, len(likely), size):
            rows = slice(start, start + size)
            chunk = zeros[: len(likely[rows])].scatter_(1, columns[rows], at_labels[rows])
            torch._log_softmax_backward_data(chunk, likely[rows], -1, likely.dtype, out=likely[rows])
            chunk.scatter_(1, columns[rows], 0.0)
        return likely, None, None
