"""Training step as it was before it was made fast: the other side of the benchmarks of training.

Kept as it was, on purpose: token ids are padded row by row in Python, noise is drawn on the CPU, each batch is copied
to the device while the device waits, and loss and gradient are read back after every step. The package never uses it.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from close_transfer.models.adapters import NoiseSource
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.models.network import TransferNetwork
from close_transfer.training.train_step import make_generator

TokenRow = Sequence[int] | NDArray[np.int32]


class ReferenceLoop:
    """Training of one process, without checkpoints, validation and logs."""

    def __init__(
        self,
        network: TransferNetwork,
        vectors: NDArray[np.floating],
        prompts: Sequence[TokenRow],
        targets: Sequence[Sequence[TokenRow]],
        accelerator: Accelerator,
        *,
        padding: int = 0,
        seed: int = 0,
        learning_rate: float = 3e-4,
    ) -> None:
        """Prepare the model and its optimiser.

        Args:
            network: network to train.
            vectors: raw vector of each example's scene, shape (examples, [k,] dim).
            prompts: token ids of each example's prompt; may be empty.
            targets: token ids of each example's targets.
            accelerator: device and precision.
            padding: token id that prompts are padded with.
            seed: seed of noise and dropout.
            learning_rate: constant learning rate.
        """
        self._vectors, self._prompts, self._targets = vectors, prompts, targets
        self._accelerator, self._padding, self._seed = accelerator, padding, seed
        trainable = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=0.0, fused=False)
        self._model, wrapped = accelerator.prepare(network, optimizer)
        self._optimizer = wrapped.optimizer

    def step(self, step: int, rows: NDArray[np.int64]) -> float:
        """Do one optimiser step on these examples, and return the loss in nats per target token."""
        torch.manual_seed(make_generator(self._seed, "dropout", step, 0).initial_seed())
        self._model.train()
        device = self._accelerator.device
        prompt_ids = _pad([self._prompts[row] for row in rows], self._padding)
        lengths = torch.tensor([len(self._prompts[row]) for row in rows])
        prompt_mask = (torch.arange(prompt_ids.shape[1]) < lengths[:, None]).long()
        labels = _pad([target for row in rows for target in self._targets[row]], IGNORED)
        counts = torch.tensor([len(self._targets[row]) for row in rows])
        scene_of_target = torch.repeat_interleave(torch.arange(len(rows)), counts)
        num_tokens = sum(len(target) for row in rows for target in self._targets[row])
        vectors = torch.from_numpy(np.asarray(self._vectors[rows], dtype=np.float32))
        noise = NoiseSource(make_generator(self._seed, "noise", step), 0, len(rows))
        self._optimizer.zero_grad()
        labels = labels.to(device)
        with self._accelerator.autocast():
            logits = self._model(
                vectors=vectors.to(device),
                prompt_ids=prompt_ids.to(device),
                prompt_mask=prompt_mask.to(device),
                labels=labels,
                scene_of_target=scene_of_target.to(device),
                input_modality="text",
                noise=noise,
            )
        loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        loss = loss / num_tokens
        self._accelerator.backward(loss)
        value = float(loss.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0))
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise FloatingPointError(f"the loss is {value} and the gradient length {norm}")
        self._optimizer.step()
        return value


def _pad(rows: Sequence[TokenRow], padding: int) -> Tensor:
    padded = np.full((len(rows), max((len(row) for row in rows), default=0)), padding, dtype=np.int64)
    for line, values in zip(padded, rows, strict=True):
        line[: len(values)] = values
    return torch.from_numpy(padded)
