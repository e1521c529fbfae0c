"""The loop that trains a language model on text alone, and its saved state.

Order, corruption and dropout follow from seed and step alone, so a training that is stopped and resumed
equals one that never stopped.
"""

import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from close_transfer.config.pretrain_lm import PretrainLmConfig
from close_transfer.core.atomic_files import atomic_path
from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.training.batches import Ragged, Rows, count_steps_per_epoch, iterate_batches
from close_transfer.training.checkpoints import RunFolder
from close_transfer.training.optimizer_state import collect_optimizer_tensors, restore_optimizer
from close_transfer.training.schedules import compute_learning_rate_factor
from close_transfer.training.span_corruption import SpanCorruptor

STATE_FILE = "state.safetensors"
_LONGEST_GRADIENT = 1.0
_CORRUPTION, _DROPOUT, _VALIDATION = 1, 2, 3  # streams of random numbers beside that of the order


@dataclass
class PretrainState:
    """Where training stands.

    Attributes:
        step: optimiser steps done.
        seconds: spent in training so far, over all sessions.
        num_tokens: read and written by the model in training so far, padding not counted.
        losses: of every epoch's end: "epoch", "step", "validation_loss" in nats a written token.
    """

    step: int = 0
    seconds: float = 0.0
    num_tokens: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)


def read_saved_identity(folder: Path) -> str | None:
    """Of which settings and texts the folder holds a saved state; None where it holds none."""
    if not (folder / STATE_FILE).is_file():
        return None
    with safe_open(folder / STATE_FILE, "pt") as file:
        return file.metadata()["identity"]


@dataclass
class Pretrainer:
    """One pretraining.

    Attributes:
        config: its settings.
        model: what is trained.
        texts, validation: token ids of every text, the end token last.
        corruption: what becomes of a text.
        padding: the id that fills up inputs.
        folder: where state and log go.
        device: where it is computed.
        identity: of settings and texts, saved with the state.
    """

    config: PretrainLmConfig
    model: PreTrainedModel
    texts: Ragged
    validation: Ragged
    corruption: SpanCorruptor
    padding: int
    folder: RunFolder
    device: torch.device
    identity: str
    _optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.model.to(self.device)  # type: ignore[arg-type]
        # On a GPU the fused kind would keep its step count where `restore_optimizer` does not put it.
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.config.learning_rate, weight_decay=0.0, fused=self.device.type == "cpu"
        )

    @property
    def an_epoch(self) -> int:
        """Optimiser steps in one pass over the texts."""
        return count_steps_per_epoch(len(self.texts), self.config.batch_size)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole training."""
        steps = self.config.epochs * self.an_epoch
        return min(steps, self.config.max_steps or steps)

    def run(self, state: PretrainState) -> int:
        """Trains on from a state to the end, or until a signal asks it to stop; saves after every epoch.

        Returns:
            0 at the end; else the exit status that tells a scheduler to go on later.

        Raises:
            UserError: if a loss or gradient is not finite.
            WriteError: if the disk is full; the last saved state is intact.
        """
        config = self.config
        self.folder.rewind_log(state.step)
        request = StopRequest()
        began, tokens_before, seconds_before = time.monotonic(), state.num_tokens, state.seconds
        with request.listening(), self._bar(state.step) as bar:
            for rows in iterate_batches(
                self.texts.lengths(), config.batch_size, config.seed, state.step, self.num_steps
            ):
                measured = self._step(state, rows)
                seconds = time.monotonic() - began
                bar.update(len(rows))
                if state.step % config.log_every == 0 or state.step == 1:
                    rate = (state.num_tokens - tokens_before) / seconds
                    bar.set_postfix(loss=f"{measured['loss']:.3f}", tokens=f"{rate:,.0f}/s", refresh=False)
                    self.folder.log({"step": state.step, **measured})
                epoch_ended = state.step % self.an_epoch == 0 or state.step == self.num_steps
                if epoch_ended:
                    self._validate(state)
                if epoch_ended or request.asked:
                    state.seconds = seconds_before + time.monotonic() - began
                    self._save(state)
                if request.asked:
                    break
        return request.exit_status if state.step < self.num_steps else 0

    def _inputs(self, ids: Ragged, rows: Rows, rng: np.random.Generator) -> tuple[dict[str, Tensor], int, int]:
        """What the model's forward pass takes, corrupted anew; how many tokens it reads and writes."""
        if self.config.used_objective == "causal":
            return self._causal_inputs(ids, rows)
        pairs = [self.corruption(ids[row], rng) for row in rows]
        read, written = (Ragged.from_rows(part) for part in zip(*pairs, strict=True))
        every = range(len(rows))
        input_ids = read.pad(every, self.padding)
        mask = torch.arange(input_ids.shape[1]) < torch.from_numpy(read.lengths())[:, None]
        inputs = {"input_ids": input_ids, "attention_mask": mask.long(), "labels": written.pad(every, IGNORED)}
        on_device = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        return on_device, len(read.values), len(written.values)

    def _causal_inputs(self, ids: Ragged, rows: Rows) -> tuple[dict[str, Tensor], int, int]:
        """Whole texts behind an end token, from which the first word follows as others follow from a prompt."""
        end = self.corruption.end
        whole = Ragged.from_rows([[end, *ids[row]] for row in rows])
        every = range(len(rows))
        input_ids, mask = whole.pad_with_mask(every, self.padding)
        # The model itself sets labels against the tokens before them, and so skips the first.
        inputs = {"input_ids": input_ids, "attention_mask": mask, "labels": whole.pad(every, IGNORED)}
        written = len(whole.values) - len(rows)
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}, len(rows), written

    def _loss(self, inputs: dict[str, Tensor]) -> Tensor:
        """Mean over written tokens, in nats."""
        precision = self.config.precision
        bf16 = precision == "bf16" or (precision == "auto" and self.device.type == "cuda")
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            return self.model(**inputs).loss

    def _step(self, state: PretrainState, rows: Rows) -> dict[str, float]:
        config, step = self.config, state.step
        rate = config.learning_rate * compute_learning_rate_factor(step, self.num_steps, config.warmup_steps, "linear")
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        # Dropout draws from the global generator; seeding it here makes every step repeatable.
        torch.manual_seed(int(np.random.SeedSequence([config.seed, step, _DROPOUT]).generate_state(1)[0]))
        rng = np.random.default_rng([config.seed, step, _CORRUPTION])
        inputs, num_read, num_written = self._inputs(self.texts, rows, rng)
        self.model.train()
        self._optimizer.zero_grad()
        loss = self._loss(inputs)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LONGEST_GRADIENT))
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise UserError(
                f"step {step + 1}: the loss is {value} and the gradient's length {norm}, so nothing was "
                "updated; give a lower learning_rate or more warmup_steps"
            )
        self._optimizer.step()
        state.step += 1
        state.num_tokens += num_read + num_written
        return {"loss": value, "gradient": norm, "learning_rate": rate}

    @torch.no_grad()
    def _validate(self, state: PretrainState) -> None:
        """Adds the validation loss to the state; the corruption is the same every time."""
        self.model.eval()
        total, num_tokens = 0.0, 0
        order = np.argsort(self.validation.lengths(), kind="stable")
        rng = np.random.default_rng([self.config.seed, 0, _VALIDATION])
        for start in range(0, len(order), self.config.batch_size):
            inputs, _, num_written = self._inputs(self.validation, order[start : start + self.config.batch_size], rng)
            total += float(self._loss(inputs)) * num_written
            num_tokens += num_written
        loss, epoch = total / num_tokens, round(state.step / self.an_epoch, 2)
        state.losses.append({"epoch": epoch, "step": state.step, "validation_loss": loss})
        self.folder.log({"step": state.step, "validation_loss": loss})
        tqdm.write(
            f"epoch {epoch:g} of {self.config.epochs}: validation loss {loss:.3f}, perplexity {math.exp(loss):.2f}"
        )

    def _save(self, state: PretrainState) -> None:
        tensors = {f"model/{name}": p.detach().cpu().contiguous() for name, p in self.model.named_parameters()}
        tensors |= {f"optimizer/{key}": t for key, t in collect_optimizer_tensors(self.model, self._optimizer).items()}
        metadata = {"state": json.dumps(asdict(state)), "identity": self.identity}
        with atomic_path(self.folder.path / STATE_FILE) as temporary:
            save_file(tensors, temporary, metadata=metadata)

    def restore(self) -> PretrainState:
        """Puts model and optimiser where the saved state left them."""
        path = self.folder.path / STATE_FILE
        with safe_open(path, "pt") as file:
            state = PretrainState(**json.loads(file.metadata()["state"]))
        tensors = load_file(path)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(tensors[f"model/{name}"])
        slots = {key.removeprefix("optimizer/"): t for key, t in tensors.items() if key.startswith("optimizer/")}
        restore_optimizer(self.model, self._optimizer, slots)
        return state

    def _bar(self, step: int) -> tqdm:
        done, in_all = (-(-len(self.texts) * s // self.an_epoch) for s in (step, self.num_steps))
        return tqdm(
            total=in_all,
            initial=done,
            unit="text",
            desc="pretraining",
            mininterval=0.1 if sys.stderr.isatty() else 5,  # a log file is not filled with it
        )
