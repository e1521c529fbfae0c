"""A run's folder: its checkpoints, which of them is best and which is last, its log.

    config.yaml        what was asked for
    training.jsonl     loss and learning rate by step
    tensorboard/       the same for TensorBoard
    checkpoints/       step-000500/ and so on, each a folder for `from_pretrained`
    best, last         links to checkpoints
    eval-test-image/   results of evaluations

A checkpoint is written under another name and renamed when complete, and renamed again before it is
removed, so that a folder called step-... is whole whenever a kill comes. Only the best and the last are
kept, and the optimiser's state only with the last. Nothing is pickled. checksums.json holds the SHA-256 of
what a checkpoint is loaded from, so that a damaged one is not mistaken for what was trained.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from close_transfer.core.atomic_files import (
    append_line,
    damaged_file_error,
    fingerprint,
    fingerprint_file,
    read_fields,
    read_json,
    remove_stale,
    replace_link,
    report_write_errors,
    sync,
    write_json,
    write_text,
)
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from close_transfer.training.optimizer_state import collect_optimizer_tensors, restore_optimizer

_logger = logging.getLogger(__name__)

_OPTIMIZER = "optimizer.safetensors"
_STATE = "training_state.json"
_CHECKSUMS = "checksums.json"
_STATE_KINDS = {"step": int, "best_step": int, "best_loss": int | float | None, "seconds": int | float}
_HOW_LOADED = ("is_local", "local_files_only")


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


State = TypeVar("State", bound=TrainingState)


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

    def intact(self, which: str) -> Path:
        """The folder of the "best" or "last" checkpoint, every file of which is as training wrote it.

        Raises:
            UserError: if there is none, or a file of it is missing or damaged.
        """
        folder = self.checkpoint(which)
        listed = folder / _CHECKSUMS
        if not listed.is_file():  # deleted by somebody who changed a file on purpose
            return folder
        expected = {**read_fields(listed, {"config.json": str}), **read_json(listed)}
        for name, checksum in expected.items():
            path = folder / name
            if name == _OPTIMIZER and not path.is_file():  # kept with the last only
                continue
            if not path.is_file() or fingerprint_file(path) != checksum:
                raise UserError(
                    f"{path}: is missing or damaged, as its SHA-256 in {_CHECKSUMS} is another; train again, or restore the file "
                    f"(whoever changed it on purpose deletes {_CHECKSUMS})"
                )
        return folder

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a last checkpoint, intact or not; False where a kill came before the first."""
        return (self.path / "last").is_dir()

    def fingerprint(self, which: str) -> str:
        """SHA-256 over all that inference reads of the "best" or "last" checkpoint.

        Raises:
            UserError: if there is none.
        """
        files = sorted(
            path
            for path in self.checkpoint(which).iterdir()
            if path.is_file() and path.name not in (_OPTIMIZER, _STATE, _CHECKSUMS)
        )
        return fingerprint(part for path in files for part in (path.name, fingerprint_file(path)))

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keeps other processes from training in the folder, and mends what a killed one left half done.

        Raises:
            UserError: if another process trains there, or nothing there can be gone on from.
        """
        with report_write_errors(self.path):
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        refusal = UserError(f"another process trains in {self.path}; wait for it, or give another output=")
        with hold_lock(locate_lock(self.path), refusal):
            with report_write_errors(self.path):
                self._mend()
            yield

    @contextmanager
    def claimed(self, accelerator: Accelerator) -> Iterator[None]:
        """Hold `owned` in the main process, while all processes train.

        Raises:
            UserError: as `owned`.
        """
        with self.owned() if accelerator.is_main_process else nullcontext():
            accelerator.wait_for_everyone()
            yield

    def _mend(self) -> None:
        """Finishes a save that was cut off: links to what is complete, nothing left over."""
        remove_stale(self.path)
        for folder in (self.path / "checkpoints").glob(".*.tmp"):
            shutil.rmtree(folder)
        checkpoints = self._checkpoints()
        complete = [path for path in checkpoints if (path / _OPTIMIZER).is_file()]
        if checkpoints and not complete:
            raise UserError(
                f"{self.path}: no checkpoint holds {_OPTIMIZER}, so training cannot go on; give another output="
            )
        if complete:
            last = complete[-1]
            best = last.with_name(_name(read_state(last, TrainingState).best_step))
            replace_link(self.path / "last", last)
            if best.is_dir():
                replace_link(self.path / "best", best)
            self._drop_unneeded()

    def _checkpoints(self) -> list[Path]:
        """All that are complete, in the order of their steps."""
        folders = [path for path in (self.path / "checkpoints").glob("step-*") if path.name[5:].isdecimal()]
        return sorted(folders, key=lambda path: int(path.name[5:]))

    def save(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        optimizer: torch.optim.Optimizer,
        state: TrainingState,
    ) -> None:
        """Writes a checkpoint, makes it the last (and the best, if it is), drops what is not needed.

        Raises:
            WriteError: if the disk is full; what was saved before stays as it is.
        """
        target = self.path / "checkpoints" / _name(state.step)
        if target.is_dir():
            return  # saved at this step already
        for key in _HOW_LOADED:  # differs once a run is resumed, and says nothing about the tokenizer
            tokenizer.init_kwargs.pop(key, None)
        temporary = target.with_name(f".{target.name}.tmp")
        with report_write_errors(target):
            try:
                model.save_pretrained(temporary)
                tokenizer.save_pretrained(temporary)
                save_file(collect_optimizer_tensors(model, optimizer), temporary / _OPTIMIZER)
                sums = {path.name: fingerprint_file(path) for path in sorted(temporary.iterdir())}
                write_json(temporary / _CHECKSUMS, sums)
                write_json(temporary / _STATE, asdict(state))
                for path in (*temporary.iterdir(), temporary, self.log_path):
                    sync(path)
                temporary.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            sync(target.parent)
            replace_link(self.path / "last", target)
            if state.best_step == state.step:
                replace_link(self.path / "best", target)
            self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        last = (self.path / "last").resolve()
        best = (self.path / "best").resolve()
        for folder in self._checkpoints():
            if folder.resolve() not in (last, best):
                removed = folder.with_name(f".{folder.name}.tmp")
                folder.rename(removed)
                shutil.rmtree(removed)
            elif folder.resolve() != last:
                (folder / _OPTIMIZER).unlink(missing_ok=True)

    def load_state(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer, kind: type[State]) -> State:
        """Put the optimiser where the last checkpoint left it, and return the state that belongs to it.

        The model must have been loaded from the same checkpoint.
        """
        folder = self.checkpoint("last")
        restore_optimizer(model, optimizer, load_file(folder / _OPTIMIZER))
        return read_state(folder, kind)

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints, of a training whose model was saved elsewhere."""
        for link in ("best", "last"):
            (self.path / link).unlink(missing_ok=True)
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    @property
    def log_path(self) -> Path:
        """One JSON object a line: what was logged at a step."""
        return self.path / "training.jsonl"

    def log(self, entry: Mapping[str, Any]) -> None:
        """Appends to the log."""
        with report_write_errors(self.log_path), self.log_path.open("ab") as file:
            append_line(file.fileno(), json.dumps(entry))

    def read_log(self) -> list[dict[str, Any]]:
        """All entries of the log; a line that a kill cut short, or that is damaged, is left out with a note."""
        if not self.log_path.is_file():
            return []
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        entries = [entry for entry in map(_entry, lines) if entry is not None]
        if len(entries) < len(lines):
            _logger.warning("note: %d lines of %s cannot be read", len(lines) - len(entries), self.log_path)
        return entries

    def rewind_log(self, step: int) -> None:
        """Drops what was logged after a step, before training goes on from there."""
        kept = [entry for entry in self.read_log() if entry["step"] <= step]
        write_text(self.log_path, "".join(json.dumps(entry) + "\n" for entry in kept))


def _entry(line: str) -> dict[str, Any] | None:
    """An entry of the log: a step and numbers; None if the line is no such thing."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    usable = isinstance(entry, dict) and isinstance(entry.get("step"), int)
    return entry if usable and all(isinstance(value, int | float) for value in entry.values()) else None


def read_state(folder: Path, kind: type[State]) -> State:
    """Return the state that belongs to a checkpoint. Raises `UserError` if it is damaged."""
    path = folder / _STATE
    if not path.is_file():
        raise damaged_file_error(path, "it is missing")
    more = {field.name: field.type for field in fields(kind) if field.name not in _STATE_KINDS}
    state = kind(**read_fields(path, _STATE_KINDS | more))
    if _name(state.step) != folder.name:
        raise damaged_file_error(path, f"its step is {state.step}")
    return state


def _name(step: int) -> str:
    return f"step-{step:06d}"
