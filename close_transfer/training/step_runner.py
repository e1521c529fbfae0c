"""Optimiser steps of one process: seeds, parts on the device, and the step itself, plain or as a CUDA graph.

On a GPU the host runs ahead: it reads loss and gradient only when `look` is called. A step that was not finite is
skipped on the device, and the next look reports it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from accelerate import Accelerator

from close_transfer.config.components import LoopConfig
from close_transfer.core.arrays import IntArray
from close_transfer.encoders.out_of_memory import explain_lack_of_memory
from close_transfer.training.cuda_graphs import GraphedSteps
from close_transfer.training.objective import Objective
from close_transfer.training.parts import move_part
from close_transfer.training.train_step import Measured, NonFiniteError, set_learning_rate, train_step

# Lengths of batches for CUDA graphs: few shapes, so few recordings, and a multiple that tensor cores prefer.
_GRAPH_MULTIPLE = 8


class StepRunner:
    """Optimiser steps on global batches."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        objective: Objective,
        config: LoopConfig,
        *,
        uses_graphs: bool = False,
    ) -> None:
        """Prepare the steps.

        Args:
            model: network as the accelerator wrapped it.
            optimizer: optimiser of its trainable parameters.
            accelerator: devices, precision, processes.
            objective: batches and their loss.
            config: settings of the loop.
            uses_graphs: True to record steps as CUDA graphs; needs a GPU and a single process.
        """
        self._model, self._optimizer, self._accelerator = model, optimizer, accelerator
        self._objective, self._config = objective, config
        device = accelerator.device
        self._generators = [torch.Generator(device) for _ in range(config.gradient_accumulation)]
        self._graphs = GraphedSteps(self._take_step, self._generators, device) if uses_graphs else None
        # Loss and gradient of the last step; number, loss and gradient of the first one that was not finite.
        self._last = torch.zeros(2, device=device)
        self._failed = torch.full((3,), -1.0, dtype=torch.float64, device=device)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Use the stream of the CUDA graphs, if there are any, for all work inside."""
        if self._graphs is None:
            yield
            return
        with self._graphs.stream():
            yield

    def run(self, step: int, rows: IntArray, learning_rate: float) -> None:
        """Do one optimiser step on the global batch of these rows.

        Raises:
            NonFiniteError: on the CPU, if the loss or the gradient is not finite; on a GPU `look` raises it.
            UserError: if the GPU's memory is too small.
        """
        accumulation = self._config.gradient_accumulation
        process, num_processes = self._accelerator.process_index, self._accelerator.num_processes
        multiple = 1 if self._graphs is None else _GRAPH_MULTIPLE
        parts = self._objective.make_parts(step, rows, num_processes * accumulation, multiple)
        own_parts = parts[process * accumulation : (process + 1) * accumulation]
        # Dropout draws from the global generator. Seeding it at each step makes a resumed run equal.
        torch.manual_seed(self._objective.seed_dropout(step, process))
        for generator in self._generators:
            generator.manual_seed(self._objective.seed_noise(step))
        set_learning_rate(self._optimizer, learning_rate)
        self._model.train()
        with self.explain_lack_of_memory():
            if self._graphs is None:
                measured = self._take_step([move_part(part, self._accelerator.device) for part in own_parts])
            else:
                measured = self._graphs.run(own_parts)
        self._remember(step, measured)
        if self._accelerator.device.type == "cpu":
            self.look()  # costs nothing here, and names the step at once

    def explain_lack_of_memory(self) -> AbstractContextManager[None]:
        """Return a context in which a GPU whose memory is too small for a part of a batch is reported, as `UserError`."""
        accumulation, batch_size = self._config.gradient_accumulation, self._config.batch_size
        part_size = -(-batch_size // (accumulation * self._accelerator.num_processes))
        return explain_lack_of_memory(f"training on {part_size} examples at a time", self._advise_smaller_parts())

    def _advise_smaller_parts(self) -> str:
        accumulation, batch_size = self._config.gradient_accumulation, self._config.batch_size
        if not self._objective.splits_batches and batch_size > 1:
            return f"Give train.batch_size={batch_size // 2}, which compares each example with fewer others"
        # The settings allow only numbers that divide the batch.
        more = next((number for number in range(2 * accumulation, batch_size + 1) if batch_size % number == 0), None)
        return (
            f"Give train.gradient_accumulation={more}, which splits each batch and gives the same result; or to "
            "pretrain_lm.py a smaller batch_size"
            if more
            else "Give a smaller lm= or captioner=, or device=cpu"
        )

    def look(self) -> dict[str, float]:
        """Wait for the steps so far, and return "loss" (nats per target token) and "gradient" (length) of the last one.

        There is no "gradient" after a step in fp16 that the scaler skipped, because the scaled gradient overflowed.

        Raises:
            NonFiniteError: if a step since the last look was not finite; it names the first of them.
        """
        number, loss, gradient = self._failed.tolist()
        if number >= 0:
            raise NonFiniteError(
                int(number), f"the loss is {loss} and the gradient length {gradient}, so nothing was updated"
            )
        loss, gradient = self._last.tolist()
        return {"loss": loss, "gradient": gradient} if math.isfinite(gradient) else {"loss": loss}

    def _take_step(self, parts: Sequence[Any]) -> Measured:
        return train_step(
            self._model,
            self._optimizer,
            parts,
            self._accelerator,
            lambda model, part, number: self._objective.compute_loss(
                model, part, self._generators[number], self._accelerator
            ),
            clip_grad_norm=self._config.clip_grad_norm,
        )

    def _remember(self, step: int, measured: Measured) -> None:
        self._last = torch.stack([measured.loss, measured.gradient])
        failed = torch.cat([torch.full((1,), float(step), device=self._last.device), self._last]).double()
        is_first = ~measured.is_finite & (self._failed[0] < 0)
        self._failed = torch.where(is_first, failed, self._failed)
