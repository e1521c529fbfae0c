"""The training loop: fetch, step, log, validate, save, in this order.

It is handed vectors and token ids and knows neither encoder nor task nor whether the vectors came
from texts or images. Order of examples, noise and dropout follow from seed and step alone, so a
run that is stopped and resumed equals one that never stopped.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from close_transfer.config.choices import InputModality
from close_transfer.config.components import LoopConfig
from close_transfer.core.atomic_files import WriteError, report_write_errors
from close_transfer.core.signals import TERMINATED_STATUS, StopRequest
from close_transfer.models.network import TransferNetwork
from close_transfer.training.batches import Rows, TokenizedExamples, count_steps_per_epoch, iterate_batches
from close_transfer.training.checkpoints import RunFolder, TrainingState
from close_transfer.training.schedules import compute_learning_rate_factor
from close_transfer.training.train_step import NonFiniteError, make_generator, sum_loss, train_step


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


def sample_validation_rows(num_examples: int, max_examples: int, seed: int) -> Rows:
    """The validation examples that are used, in order: all, or a draw of `max_examples` that follows from the seed.

    The first ones would be of the first scenes alone, where a file is in some order.
    """
    drawn = torch.randperm(num_examples, generator=make_generator(seed, "validation examples"))[:max_examples]
    return drawn.sort().values.numpy()


def build_accelerator(device: str, precision: Literal["auto", "fp32", "bf16"]) -> Accelerator:
    """Return the accelerator of a device, as `pick_device` names it; "auto" computes in bf16 on a GPU."""
    disable_progress_bar()  # of loading weights; it would mix with ours
    if ":" in device:  # accelerate takes the current GPU
        torch.cuda.set_device(device)
    uses_bf16 = precision == "bf16" or (precision == "auto" and device != "cpu")
    return Accelerator(cpu=device == "cpu", mixed_precision="bf16" if uses_bf16 else "no")


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
            raise error.with_next_step(f"go on with the same settings and resume={self.folder.path}") from error

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
                measured = self._train_on(state.step, num_steps, rows)
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

    def _train_on(self, step: int, num_steps: int, rows: Any) -> dict[str, float]:
        """Do one optimiser step on the global batch of these rows; return what is logged."""
        config = self.config
        process, num_processes = self.accelerator.process_index, self.accelerator.num_processes
        parts = self.examples.parts(rows, num_processes * config.gradient_accumulation)
        first = process * config.gradient_accumulation
        mine = [part for part in parts[first : first + config.gradient_accumulation] if len(part.vectors)]
        # Dropout draws from the global generator; seeding it here makes every step repeatable.
        torch.manual_seed(make_generator(self.seed, "dropout", step, process).initial_seed())
        self._wrapped.train()
        factor = compute_learning_rate_factor(step, num_steps, config.warmup_steps, config.schedule, config.batch_size)
        try:
            return train_step(
                self._wrapped,
                self._optimizer,
                mine,
                self.accelerator,
                lambda: make_generator(self.seed, "noise", step),
                input_modality=self.input_modality,
                learning_rate=config.learning_rate * factor,
                clip_grad_norm=config.clip_grad_norm,
                label_smoothing=config.label_smoothing,
            )
        except NonFiniteError as error:
            ids = ", ".join(self.examples.ids[row] for row in rows[:8])
            raise NonFiniteError(
                f"step {step + 1}: {error}; the examples were {ids}{', ...' if len(rows) > 8 else ''}; lower "
                "train.learning_rate, set train.clip_grad_norm, or look at these examples"
            ) from error

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
                self.accelerator.device, self.input_modality, make_generator(self.seed, "validation", number)
            )
            with self.accelerator.autocast():
                total += float(sum_loss(self.model(**inputs), inputs["labels"]))  # type: ignore[arg-type]
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
        limit = self.config.max_examples_per_epoch
        an_epoch = count_steps_per_epoch(len(self.examples), self.config.batch_size, limit)
        num_examples = min(len(self.examples), limit or len(self.examples))
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
