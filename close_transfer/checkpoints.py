"""A run's folder: its checkpoints, which of them is best and which is last, its log.

    config.yaml        what was asked for
    training.jsonl     loss and learning rate by step
    tensorboard/       the same for TensorBoard
    checkpoints/       step-000500/ and so on, each a folder for `from_pretrained`
    best, last         links to checkpoints
    eval-test-image/   results of evaluations

A checkpoint is written under another name and renamed when complete. Only the best and the last
are kept, and the optimiser's state only with the last. Nothing is pickled.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from close_transfer.errors import UserError
from close_transfer.files import read_json, replace_link, write_json, write_text
from close_transfer.model import TransferModel

_OPTIMIZER = "optimizer.safetensors"
_STATE = "training_state.json"


@dataclass
class TrainingState:
    """Where training stands. Randomness follows from seed and step, so nothing else is needed.

    Attributes:
        step: optimiser steps done.
        best_step: the step of the lowest validation loss so far, -1 before the first validation.
        best_loss: that loss, in nats a target token; None before the first validation.
        seconds: spent in training so far, over all sessions.
    """

    step: int = 0
    best_step: int = -1
    best_loss: float | None = None
    seconds: float = 0.0


class RunFolder:
    """Reads and writes one run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def checkpoint(self, which: str) -> Path:
        """The folder of the "best" or "last" checkpoint.

        Raises:
            UserError: if there is none.
        """
        folder = self.path / which
        if not (folder / "config.json").is_file():
            raise UserError(
                f"{self.path} holds no {which} checkpoint; train again, or continue with resume={self.path}"
            )
        return folder.resolve()

    def save(
        self,
        model: TransferModel,
        tokenizer: PreTrainedTokenizerBase,
        optimizer: torch.optim.Optimizer,
        state: TrainingState,
    ) -> None:
        """Writes a checkpoint, makes it the last (and the best, if it is), drops what is not needed."""
        target = self.path / "checkpoints" / f"step-{state.step:06d}"
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        save_file(_optimizer_tensors(model, optimizer), temporary / _OPTIMIZER)
        write_json(temporary / _STATE, asdict(state))
        _flush(temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        replace_link(self.path / "last", target)
        if state.best_step == state.step:
            replace_link(self.path / "best", target)
        self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        kept = {which: (self.path / which).resolve() for which in ("best", "last") if (self.path / which).exists()}
        for folder in (self.path / "checkpoints").iterdir():
            if folder.resolve() not in kept.values():
                shutil.rmtree(folder)
            elif folder.resolve() != kept["last"]:
                (folder / _OPTIMIZER).unlink(missing_ok=True)

    def load_state(self, model: TransferModel, optimizer: torch.optim.Optimizer) -> TrainingState:
        """Puts the optimiser where the last checkpoint left it, and says where that was.

        The model must have been loaded from the same checkpoint.
        """
        folder = self.checkpoint("last")
        _restore_optimizer(model, optimizer, load_file(folder / _OPTIMIZER))
        return TrainingState(**read_json(folder / _STATE))

    @property
    def log_path(self) -> Path:
        """One JSON object a line: what was logged at a step."""
        return self.path / "training.jsonl"

    def log(self, entry: Mapping[str, Any]) -> None:
        """Appends to the log."""
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """All entries of the log; a line that a kill cut short is left out."""
        if not self.log_path.is_file():
            return []
        entries = []
        for line in self.log_path.read_text(encoding="utf-8").splitlines():
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return entries

    def rewind_log(self, step: int) -> None:
        """Drops what was logged after a step, before training goes on from there."""
        kept = [entry for entry in self.read_log() if entry["step"] <= step]
        write_text(self.log_path, "".join(json.dumps(entry) + "\n" for entry in kept))


def _optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{key}"] = value.detach().cpu().contiguous()
    return tensors


def _restore_optimizer(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for key, tensor in tensors.items():
        name, slot = key.rsplit("/", 1)
        parameter = parameters[name]
        # AdamW keeps its step count on the CPU and its moments beside the parameter.
        optimizer.state[parameter][slot] = tensor if slot == "step" else tensor.to(parameter.device)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
