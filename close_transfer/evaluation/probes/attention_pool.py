"""Attention-pool probe (big_vision's MAP head): one learned query reads the encoder's grid of vectors.

The query attends to the grid with several heads; then comes a norm with an MLP and a residual, and a linear layer to the
classes. The loop is separate from `training/trainer.py`: the probe is neither saved nor resumed, and takes seconds.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from close_transfer.config.probe_encoder import AttentionPoolConfig
from close_transfer.core.arrays import Float32Array, IntArray
from close_transfer.core.errors import UserError
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.evaluation.probes.few_shot import SMALLEST_STD

_STATISTICS_IMAGES = 2048  # images whose grids give mean and standard deviation
_WARMUP_SHARE = 0.1  # of the steps
_MLP_RATIO = 4  # width of the MLP divided by that of the vectors, as in ViT


class AttentionPool(torch.nn.Module):
    """One learned query, attention over the grid, norm and MLP with a residual, and a linear classifier."""

    def __init__(self, dim: int, num_heads: int, num_classes: int) -> None:
        """Build the probe.

        Args:
            dim: width of the grid's vectors.
            num_heads: heads of the attention; reduced to a number that divides `dim`.
            num_classes: number of classes.
        """
        super().__init__()
        self.query = torch.nn.Parameter(torch.randn(1, 1, dim) / math.sqrt(dim))
        self.attention = torch.nn.MultiheadAttention(dim, math.gcd(num_heads, dim), batch_first=True)
        self.norm = torch.nn.LayerNorm(dim)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(dim, _MLP_RATIO * dim), torch.nn.GELU(), torch.nn.Linear(_MLP_RATIO * dim, dim)
        )
        self.classifier = torch.nn.Linear(dim, num_classes)

    def forward(self, grid: Float[Tensor, "b k d"]) -> Float[Tensor, "b c"]:
        """Return logits of the classes."""
        pooled, _ = self.attention(self.query.expand(len(grid), -1, -1), grid, grid, need_weights=False)
        pooled = pooled[:, 0]
        return self.classifier(pooled + self.mlp(self.norm(pooled)))


def _compute_rate_factor(step: int, num_steps: int) -> float:
    """Return the factor of the learning rate: a linear warm-up, then a cosine to 0."""
    warmup = max(1, round(_WARMUP_SHARE * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def _iterate_rows(num_rows: int, batch_size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Yield batches of rows without end, each row once per epoch."""
    while True:
        order = rng.permutation(num_rows)
        yield from (order[start : start + batch_size] for start in range(0, num_rows, batch_size))


def predict_attention_pool(
    training: SceneVectors,
    labels: IntArray,
    testing: SceneVectors,
    num_classes: int,
    config: AttentionPoolConfig,
    seed: int,
    device: str,
) -> IntArray:
    """Train the probe, and return the class of each test image, shape (test images,).

    Args:
        training, labels: grids of the training images, read in batches, and their classes.
        testing: grids of the test images.
        num_classes: number of classes.
        config: settings of the probe.
        seed: seed of the weights and of the order of images.
        device: torch device.

    Raises:
        UserError: if a logit is not finite, because the class with the highest one would mean nothing.
    """
    rng = np.random.default_rng(seed)
    sample: Float32Array = training[np.sort(rng.permutation(len(training))[:_STATISTICS_IMAGES])]
    mean = torch.from_numpy(sample.mean(axis=(0, 1))).to(device)
    std = torch.from_numpy(sample.std(axis=(0, 1)) + SMALLEST_STD).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        probe = AttentionPool(sample.shape[-1], config.num_heads, num_classes).to(device)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    targets = torch.from_numpy(labels).to(device)
    batches = _iterate_rows(len(training), config.batch_size, rng)
    for step, rows in zip(range(config.steps), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _compute_rate_factor(step, config.steps)
        grid = (torch.from_numpy(training[rows]).to(device) - mean) / std
        loss = F.cross_entropy(probe(grid), targets[torch.from_numpy(rows).to(device)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probe.eval()
    with torch.inference_mode():
        parts = [
            probe((torch.from_numpy(testing[rows]).to(device) - mean) / std)
            for rows in np.array_split(np.arange(len(testing)), math.ceil(len(testing) / config.batch_size))
        ]
    logits = torch.cat(parts)
    if not torch.isfinite(logits).all():
        raise UserError(
            f"attention_pool.learning_rate={config.learning_rate}: the probe's logits are NaN or infinite. Give a smaller "
            "number, or leave attention_pool out of probes"
        )
    classes: IntArray = logits.argmax(dim=1).cpu().numpy()
    return classes
