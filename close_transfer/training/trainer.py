"""Training loop: fetch, step, log, validate, save, in this order.

The objective defines the loss: that of writing text from embeddings, or that of a language model of text alone. The
order of examples and all random draws follow from seed and step only. So, on a CPU with the same number of threads, a run
that is stopped and resumed equals one that never stopped (docs/fault_tolerance.md has the limits).
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from close_transfer.config.components import LoopConfig
from close_transfer.core.arrays import IntArray
from close_transfer.core.atomic_files import WriteError, report_write_errors
from close_transfer.core.signals import TERMINATED_STATUS, StopRequest
from close_transfer.training.accelerator import build_optimizer, uses_graphs_on
from close_transfer.training.batch_order import count_steps_per_epoch, iterate_batches
from close_transfer.training.objective import Objective
from close_transfer.training.run_folder import RunFolder, TrainingState
from close_transfer.training.schedules import compute_learning_rate_factor
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.train_step import NonFiniteError


@dataclass
class Outcome:
    """Result of a training run.

    Attributes:
        state: last state.
        stopped_early: True if a signal stopped the training; `resume` continues it.
        exit_status: exit status of the command: 0 at the end, 130 after Ctrl-C, 143 after another signal to stop, after
            which a scheduler can start it again.
        was_finished: True if the run was finished before, so nothing was done.
    """

    state: TrainingState
    stopped_early: bool
    exit_status: int = 0
    was_finished: bool = False


def count_steps(config: LoopConfig, num_examples: int) -> int:
    """Return the number of optimiser steps of a whole run."""
    steps = config.epochs * count_steps_per_epoch(num_examples, config.batch_size, config.max_examples_per_epoch)
    return min(steps, config.max_steps or steps)


@dataclass
class Trainer:
    """Trainer of one run.

    Attributes:
        model, tokenizer: model to train, and the tokenizer that is saved with it; None for a model without text.
        objective: batches, loss and validation.
        config: settings of the loop.
        seed: seed of the order of examples.
        folder: folder of checkpoints and logs.
        accelerator: devices, precision, processes.
        initial_state: state of a new training; a checkpoint's state is of the same class.
        is_fused: True to update all weights in one kernel (fused AdamW) on a CPU; a GPU always does. Rounding differs
            from that of plain AdamW, so a run must not change it.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    objective: Objective
    config: LoopConfig
    seed: int
    folder: RunFolder
    accelerator: Accelerator
    initial_state: TrainingState = field(default_factory=TrainingState)
    is_fused: bool = False
    _num_examples: int = field(init=False)
    _optimizer: torch.optim.Optimizer = field(init=False)
    _wrapped_model: torch.nn.Module = field(init=False)
    _steps: StepRunner = field(init=False)

    def __post_init__(self) -> None:
        self._num_examples = len(self.objective.compute_lengths())
        config = self.config
        uses_graphs = uses_graphs_on(config, self._num_steps, self.accelerator)
        optimizer = build_optimizer(
            self.model, config.learning_rate, config.weight_decay, self.accelerator.device, uses_graphs, self.is_fused
        )
        self._wrapped_model, wrapped_optimizer = self.accelerator.prepare(self.model, optimizer)
        self._optimizer = wrapped_optimizer.optimizer
        self._steps = StepRunner(
            self._wrapped_model,
            self._optimizer,
            self.accelerator,
            self.objective,
            config,
            uses_graphs=uses_graphs,
        )

    @property
    def _num_steps(self) -> int:
        return count_steps(self.config, self._num_examples)

    def run(self, resume: bool = False) -> Outcome:
        """Train to the end, or until a signal asks to stop.

        Raises:
            NonFiniteError: if a loss or gradient is not finite; the message names the step and says what to do.
            WriteError: if the disk is full; the last checkpoint is intact.
        """
        try:
            return self._run(resume)
        except WriteError as error:
            raise error.with_next_step(f"continue with the same settings and resume={self.folder.path}") from error

    def _run(self, resume: bool) -> Outcome:
        state = self.initial_state
        if resume:
            state = self.folder.load_state(self.model, self._optimizer, type(state), self.accelerator.scaler)
        num_steps = self._num_steps
        if state.step >= num_steps:
            return Outcome(state, stopped_early=False, was_finished=True)
        self.folder.rewind_log(state.step)
        request = StopRequest()
        began = time.monotonic() - state.seconds
        with (
            request.listening(),
            self._steps.stream(),
            self._open_writer(state.step) as writer,
            self._open_progress_bar(state.step, num_steps) as bar,
        ):
            for rows in self._iterate_batches(state.step, num_steps):
                learning_rate = self._train_on(state.step, num_steps, rows)
                state.step += 1
                self.objective.update_state(state)
                self._log_step(state.step, learning_rate, writer, bar, len(rows))
                is_asked_to_stop = self._is_any_process_asked(request.asked)
                is_validation_step = self.objective.is_validation_step(state.step, num_steps)
                if is_validation_step:
                    self._validate(state, writer)
                if is_validation_step or is_asked_to_stop:
                    state.seconds = time.monotonic() - began
                    self._save(state, writer)
                if is_asked_to_stop:
                    break
        stopped = state.step < num_steps
        return Outcome(state, stopped, (request.exit_status or TERMINATED_STATUS) if stopped else 0)

    def _iterate_batches(self, step: int, num_steps: int) -> Iterator[IntArray]:
        config = self.config
        return iterate_batches(
            self.objective.compute_lengths(),
            config.batch_size,
            self.seed,
            step,
            num_steps,
            config.max_examples_per_epoch,
        )

    def _is_any_process_asked(self, asked: bool) -> bool:
        """Return True if any process was asked to stop, so that all of them stop after the same step."""
        if self.accelerator.num_processes == 1:
            return asked
        return bool(self.accelerator.reduce(torch.tensor(float(asked), device=self.accelerator.device)))

    def _train_on(self, step: int, num_steps: int, rows: IntArray) -> float:
        """Do one optimiser step on the global batch of these rows, and return its learning rate."""
        config = self.config
        factor = compute_learning_rate_factor(step, num_steps, config.warmup_steps, config.schedule, config.batch_size)
        with self._name_examples():
            self._steps.run(step, rows, config.learning_rate * factor)
        return config.learning_rate * factor

    @contextmanager
    def _name_examples(self) -> Iterator[None]:
        """Add the step and the objective's remedy to the error about a loss that is not finite."""
        try:
            yield
        except NonFiniteError as error:
            (rows,) = self._iterate_batches(error.step, error.step + 1)
            remedy = self.objective.suggest_remedy(rows)
            raise NonFiniteError(error.step, f"step {error.step + 1}: {error}. {remedy}") from error

    @torch.no_grad()
    def _validate(self, state: TrainingState, writer: SummaryWriter | None) -> None:
        """Log the mean loss per target token over the validation examples, and update the best step."""
        with self._name_examples():
            self._steps.look()  # nothing is saved after a step that was not finite
        self._wrapped_model.eval()
        with self._steps.explain_lack_of_memory():
            loss = self.objective.validate(self.model, state.step, self.accelerator)
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_step = loss, state.step
        if self.accelerator.is_main_process:
            self.folder.log({"step": state.step, "validation_loss": loss})
            if writer is not None:
                writer.add_scalar("validation/loss", loss, state.step)

    def _save(self, state: TrainingState, writer: SummaryWriter | None) -> None:
        with self._name_examples():
            self._steps.look()
        if self.accelerator.is_main_process:
            if writer is not None:
                writer.flush()  # a resumed run does not log again what came before the checkpoint
            self.folder.save(self.model, self.tokenizer, self._optimizer, state, self.accelerator.scaler)
        self.accelerator.wait_for_everyone()

    def _log_step(
        self, step: int, learning_rate: float, writer: SummaryWriter | None, bar: tqdm, num_examples: int
    ) -> None:
        bar.update(num_examples)
        if step % self.config.log_every and step != 1:
            return
        with self._name_examples():
            measured = {**self._steps.look(), "learning_rate": learning_rate}
        bar.set_postfix(loss=f"{measured['loss']:.3f}", step=step, refresh=False)
        if self.accelerator.is_main_process:
            self.folder.log({"step": step, **measured})
            if writer is not None:
                for name, value in measured.items():
                    writer.add_scalar(f"training/{name}", value, step)

    @contextmanager
    def _open_writer(self, step: int) -> Iterator[SummaryWriter | None]:
        if not (self.config.tensorboard and self.accelerator.is_main_process):
            yield None
            return
        folder = self.folder.path / "tensorboard"
        with report_write_errors(folder):
            # Only events after `step` are purged: the resumed run logs them again.
            writer = SummaryWriter(str(folder), purge_step=step + 1)
            try:
                yield writer
                writer.flush()  # raises the errors of its thread
            finally:
                writer.close()

    def _open_progress_bar(self, step: int, num_steps: int) -> tqdm:
        limit = self.config.max_examples_per_epoch
        steps_per_epoch = count_steps_per_epoch(self._num_examples, self.config.batch_size, limit)
        num_examples = min(self._num_examples, limit or self._num_examples)
        done, total = (num_examples * s // steps_per_epoch for s in (step, num_steps))
        return tqdm(
            total=total,
            initial=done,
            unit=self.objective.unit,
            desc=self.objective.activity,
            mininterval=0.1 if sys.stderr.isatty() else 5,  # seconds; fewer lines in a log file
            disable=not self.accelerator.is_main_process,
        )


def read_learning_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the logged (step, loss) pairs of "training" and "validation"."""
    curves: dict[str, list[tuple[int, float]]] = {"training": [], "validation": []}
    for entry in RunFolder(folder).read_log():
        if "loss" in entry:
            curves["training"].append((entry["step"], entry["loss"]))
        if "validation_loss" in entry:
            curves["validation"].append((entry["step"], entry["validation_loss"]))
    return curves
