"""The training loop: fetch, step, log, validate, save, in this order.

It is handed vectors and token ids and knows neither encoder nor task nor whether the vectors came
from texts or images. Order of examples, noise and dropout follow from seed and step alone, so a
run that is stopped and resumed equals one that never stopped.
"""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from close_transfer.config.choices import InputModality
from close_transfer.config.components import LoopConfig
from close_transfer.core.atomic_files import WriteError, fingerprint, report_write_errors
from close_transfer.core.signals import TERMINATED_STATUS, StopRequest
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.models.network import TransferNetwork
from close_transfer.training.batches import Batch, Rows, TokenizedExamples, count_steps_per_epoch, iterate_batches
from close_transfer.training.checkpoints import RunFolder, TrainingState
from close_transfer.training.schedules import compute_learning_rate_factor


class NonFiniteError(RuntimeError):
    """A loss or gradient was not finite; the weights are those of before the step."""


@dataclass
class Outcome:
    """How training ended.

    Attributes:
        state: the last state.
        stopped_early: a signal asked it to stop; `resume` goes on from there.
        exit_status: what the command should end with: 0, or what tells a scheduler to start it again.
        was_finished: there was nothing left to do.
    """

    state: TrainingState
    stopped_early: bool
    exit_status: int = 0
    was_finished: bool = False


def count_steps(config: LoopConfig, num_examples: int) -> int:
    """Optimiser steps of a whole run."""
    steps = config.epochs * count_steps_per_epoch(num_examples, config.batch_size, config.max_examples_per_epoch)
    return min(steps, config.max_steps or steps)


def _generator(*parts: object) -> torch.Generator:
    """A CPU generator whose state follows from the parts alone."""
    seed = int(fingerprint(str(part) for part in parts)[:15], 16)
    return torch.Generator().manual_seed(seed)


def sample_validation_rows(num_examples: int, most: int, seed: int) -> Rows:
    """The validation examples that are used, in order: all, or a draw of `most` that follows from the seed.

    The first ones would be of the first scenes alone, where a file is in some order.
    """
    drawn = torch.randperm(num_examples, generator=_generator(seed, "validation examples"))[:most]
    return drawn.sort().values.numpy()


def _loss_sum(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Cross-entropy summed over target tokens, in nats; with smoothing, of targets that are spread a little."""
    return F.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
    )


@dataclass
class Trainer:
    """One training run.

    Attributes:
        model, tokenizer: what is trained, and what is saved with it.
        examples: training examples.
        validation: examples whose loss picks the best checkpoint.
        input_modality: what the vectors were made from. Texts stand in for images, so validation inputs get the
            training noise too; images do not.
        config: the loop's settings.
        seed: of everything random.
        folder: where checkpoints and logs go.
        accelerator: devices, precision, processes.
    """

    model: TransferNetwork
    tokenizer: PreTrainedTokenizerBase
    examples: TokenizedExamples
    validation: TokenizedExamples
    input_modality: InputModality
    config: LoopConfig
    seed: int
    folder: RunFolder
    accelerator: Accelerator
    _optimizer: torch.optim.Optimizer = field(init=False)
    _wrapped: torch.nn.Module = field(init=False)

    def __post_init__(self) -> None:
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=self.config.learning_rate, weight_decay=self.config.weight_decay)
        self._wrapped, wrapped_optimizer = self.accelerator.prepare(self.model, optimizer)
        self._optimizer = wrapped_optimizer.optimizer

    def run(self, resume: bool = False) -> Outcome:
        """Trains to the end, or until asked to stop.

        Raises:
            NonFiniteError: if a loss or gradient is not finite; names the step and its examples.
            WriteError: if the disk is full; the last checkpoint is intact.
        """
        try:
            return self._run(resume)
        except WriteError as error:
            raise error.then(f"go on with the same settings and resume={self.folder.path}") from error

    def _run(self, resume: bool) -> Outcome:
        state = self.folder.load_state(self.model, self._optimizer) if resume else TrainingState()
        num_steps = count_steps(self.config, len(self.examples))
        if state.step >= num_steps:
            return Outcome(state, stopped_early=False, was_finished=True)
        self.folder.rewind_log(state.step)
        request = StopRequest()
        began = time.monotonic() - state.seconds
        with request.listening(), self._writer(state.step) as writer, self._bar(state.step, num_steps) as bar:
            for rows in self._batches(state.step, num_steps):
                measured = self._step(state.step, num_steps, rows)
                state.step += 1
                self._log(state.step, measured, writer, bar, len(rows))
                asked = self._any_process(request.asked)
                validates = self._is_validation_step(state.step, num_steps)
                if validates:
                    self._validate(state, writer)
                if validates or asked:
                    state.seconds = time.monotonic() - began
                    self._save(state, writer)
                if asked:
                    break
        stopped = state.step < num_steps
        return Outcome(state, stopped, (request.exit_status or TERMINATED_STATUS) if stopped else 0)

    def _batches(self, step: int, num_steps: int) -> Iterator[Any]:
        config = self.config
        return iterate_batches(
            self.examples.lengths(), config.batch_size, self.seed, step, num_steps, config.max_examples_per_epoch
        )

    def _any_process(self, asked: bool) -> bool:
        """Whether any process was asked to stop, so that all of them stop after the same step."""
        if self.accelerator.num_processes == 1:
            return asked
        return bool(self.accelerator.reduce(torch.tensor(float(asked), device=self.accelerator.device)))

    def _step(self, step: int, num_steps: int, rows: Any) -> dict[str, float]:
        """One optimiser step on the global batch of these rows."""
        processes = self.accelerator.num_processes
        parts = self.examples.parts(rows, processes * self.config.gradient_accumulation)
        first = self.accelerator.process_index * self.config.gradient_accumulation
        mine = [part for part in parts[first : first + self.config.gradient_accumulation] if len(part.vectors)]
        config = self.config
        factor = compute_learning_rate_factor(step, num_steps, config.warmup_steps, config.schedule, config.batch_size)
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor
        # Dropout draws from the global generator; seeding it here makes every step repeatable.
        torch.manual_seed(_generator(self.seed, "dropout", step, self.accelerator.process_index).initial_seed())
        self._wrapped.train()
        self._optimizer.zero_grad()
        total = torch.zeros((), device=self.accelerator.device)
        for number, part in enumerate(mine):
            last = number == len(mine) - 1
            with nullcontext() if last else self.accelerator.no_sync(self._wrapped):
                loss = self._loss(part, _generator(self.seed, "noise", step))
                # Gradients are averaged over processes; the loss is a mean over the global batch.
                self.accelerator.backward(loss * processes)
            total += loss.detach()
        loss_value = float(self.accelerator.reduce(total, reduction="sum"))
        norm = float(self._gradient_norm())
        if not (math.isfinite(loss_value) and math.isfinite(norm)):
            ids = ", ".join(self.examples.ids[row] for row in rows[:8])
            raise NonFiniteError(
                f"step {step + 1}: the loss is {loss_value} and the gradient's length {norm}, so nothing was updated; "
                f"the examples were {ids}{', ...' if len(rows) > 8 else ''}; lower train.learning_rate, set "
                "train.clip_grad_norm, or look at these examples"
            )
        self._optimizer.step()
        return {"loss": loss_value, "gradient": norm, "learning_rate": self.config.learning_rate * factor}

    def _loss(self, part: Batch, generator: torch.Generator) -> torch.Tensor:
        inputs = part.inputs(self.accelerator.device, self.input_modality, generator)
        with self.accelerator.autocast():
            logits = self._wrapped(**inputs)
        loss = _loss_sum(logits, inputs["labels"], self.config.label_smoothing)  # type: ignore[arg-type]
        return loss / part.num_target_tokens

    def _gradient_norm(self) -> torch.Tensor:
        """Length of the whole gradient, which is cut to `clip_grad_norm` if that is set."""
        most = self.config.clip_grad_norm if self.config.clip_grad_norm is not None else math.inf
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), most)

    def _is_validation_step(self, step: int, num_steps: int) -> bool:
        every = max(1, num_steps // self.config.num_validations)
        return step == num_steps or (step % every == 0 and num_steps - step >= every)

    @torch.no_grad()
    def _validate(self, state: TrainingState, writer: SummaryWriter | None) -> None:
        """Mean loss a target token over the validation examples; remembers the best."""
        self._wrapped.eval()
        self.model.adapter.train(self.input_modality == "text")
        total, num_tokens = 0.0, 0
        rows = sample_validation_rows(len(self.validation), self.config.max_val_examples, self.seed)
        for number, start in enumerate(range(0, len(rows), self.config.batch_size)):
            (batch,) = self.validation.parts(rows[start : start + self.config.batch_size], 1)
            inputs = batch.inputs(
                self.accelerator.device, self.input_modality, _generator(self.seed, "validation", number)
            )
            with self.accelerator.autocast():
                total += float(_loss_sum(self.model(**inputs), inputs["labels"]))  # type: ignore[arg-type]
            num_tokens += batch.num_target_tokens
        loss = total / num_tokens
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_step = loss, state.step
        if self.accelerator.is_main_process:
            self.folder.log({"step": state.step, "validation_loss": loss})
            if writer is not None:
                writer.add_scalar("validation/loss", loss, state.step)

    def _save(self, state: TrainingState, writer: SummaryWriter | None) -> None:
        if self.accelerator.is_main_process:
            if writer is not None:
                writer.flush()  # what was logged before a checkpoint is not logged again
            self.folder.save(self.model, self.tokenizer, self._optimizer, state)
        self.accelerator.wait_for_everyone()

    def _log(
        self, step: int, measured: dict[str, float], writer: SummaryWriter | None, bar: tqdm, num_examples: int
    ) -> None:
        bar.update(num_examples)
        if step % self.config.log_every and step != 1:
            return
        bar.set_postfix(loss=f"{measured['loss']:.3f}", step=step, refresh=False)
        if self.accelerator.is_main_process:
            self.folder.log({"step": step, **measured})
            if writer is not None:
                for name, value in measured.items():
                    writer.add_scalar(f"training/{name}", value, step)

    @contextmanager
    def _writer(self, step: int) -> Iterator[SummaryWriter | None]:
        if not (self.config.tensorboard and self.accelerator.is_main_process):
            yield None
            return
        folder = self.folder.path / "tensorboard"
        with report_write_errors(folder):
            # Nothing that was logged at `step` or before is purged.
            writer = SummaryWriter(str(folder), purge_step=step + 1)
            try:
                yield writer
                writer.flush()  # raises what its thread met
            finally:
                writer.close()

    def _bar(self, step: int, num_steps: int) -> tqdm:
        most = self.config.max_examples_per_epoch
        an_epoch = count_steps_per_epoch(len(self.examples), self.config.batch_size, most)
        num_examples = min(len(self.examples), most or len(self.examples))
        done, all_of_it = (num_examples * s // an_epoch for s in (step, num_steps))
        return tqdm(
            total=all_of_it,
            initial=done,
            unit="example",
            desc="training",
            mininterval=0.1 if sys.stderr.isatty() else 5,  # a log file is not filled with it
            disable=not self.accelerator.is_main_process,
        )


def read_learning_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, loss) by "training" and "validation", as logged so far."""
    curves: dict[str, list[tuple[int, float]]] = {"training": [], "validation": []}
    for entry in RunFolder(folder).read_log():
        if "loss" in entry:
            curves["training"].append((entry["step"], entry["loss"]))
        if "validation_loss" in entry:
            curves["validation"].append((entry["step"], entry["validation_loss"]))
    return curves
