"""Run folder: checkpoints, links to the best and the last of them, and the log.

    config.yaml        settings of the run
    training.jsonl     loss and learning rate by step
    tensorboard/       the same for TensorBoard
    checkpoints/       step-000500/ and so on, each a folder for `from_pretrained`
    best, last         links to checkpoints
    eval-test-image/   results of evaluations

A checkpoint is written under a temporary name, renamed when it is complete, and renamed again before it is
removed, so a folder named step-... is complete even after a kill. Only the best and the last are kept, and only
the last with the optimiser's state. checksums.json holds size and SHA-256 of their files. Nothing is pickled.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.optim import Optimizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from close_transfer.core.atomic_files import (
    append_line,
    damaged_file_error,
    fingerprint,
    fingerprint_file,
    follow_umask,
    remove_stale,
    replace_link,
    report_write_errors,
    sync,
    write_text,
)
from close_transfer.core.checksums import (
    CHECKSUMS,
    check_model_checksums,
    read_checked_fields,
    write_checked_json,
    write_checksums,
)
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from close_transfer.training.copied_links import remove_copied_links
from close_transfer.training.optimizer_state import Scaler, collect_optimizer_tensors, restore_optimizer

_logger = logging.getLogger(__name__)

_OPTIMIZER = "optimizer.safetensors"
_STATE = "training_state.json"
_STATE_TYPES = {"step": int, "best_step": int, "best_loss": int | float | None, "seconds": int | float}
_LOADING_ARGUMENTS = ("is_local", "local_files_only")


@dataclass
class TrainingState:
    """Progress of training. Random draws follow from seed and step, so resuming needs nothing else.

    Attributes:
        step: number of optimiser steps done.
        best_step: step of the lowest validation loss so far; -1 before the first validation.
        best_loss: lowest validation loss, in nats per target token; None before the first validation.
        seconds: time spent in training so far, over all sessions.
    """

    step: int = 0
    best_step: int = -1
    best_loss: float | None = None
    seconds: float = 0.0


State = TypeVar("State", bound=TrainingState)


class RunFolder:
    """Folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find_checkpoint(self, which: str) -> Path:
        """Return the folder of the "best" or "last" checkpoint.

        Raises:
            UserError: if there is none.
        """
        folder = self.path / which
        if not (folder / "config.json").is_file():
            raise UserError(
                f"{self.path} holds no {which} checkpoint. Train again, or continue with resume={self.path}"
            )
        return folder.resolve()

    def find_intact_checkpoint(self, which: str) -> Path:
        """Return the folder of the "best" or "last" checkpoint, after a check that its files are unchanged.

        Raises:
            UserError: if there is none, or if one of its files is missing or damaged.
        """
        folder = self.find_checkpoint(which)
        check_model_checksums(folder, optional=(_OPTIMIZER,))  # kept with the last checkpoint only
        return folder

    @property
    def has_checkpoint(self) -> bool:
        """Return True if there is a last checkpoint, intact or not; False if a kill came before the first."""
        return (self.path / "last").is_dir()

    def fingerprint(self, which: str) -> str:
        """Return the SHA-256 over all files of the "best" or "last" checkpoint that inference reads.

        Raises:
            UserError: if there is none.
        """
        files = sorted(
            path
            for path in self.find_checkpoint(which).iterdir()
            if path.is_file() and path.name not in (_OPTIMIZER, _STATE, CHECKSUMS)
        )
        return fingerprint(part for path in files for part in (path.name, fingerprint_file(path)))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training in the folder, and clean up after a process that was killed.

        Raises:
            UserError: if another process trains there, or if no checkpoint there can be resumed.
        """
        with report_write_errors(self.path):
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        refusal = UserError(f"another process trains in {self.path}. Wait for it, or give another output=")
        with hold_lock(locate_lock(self.path), refusal):
            with report_write_errors(self.path):
                self._finish_interrupted_save()
            yield

    @contextmanager
    def lock_for_all_processes(self, accelerator: Accelerator) -> Iterator[None]:
        """Hold `lock` in the main process, while all processes train.

        Raises:
            UserError: as `lock`.
        """
        with self.lock() if accelerator.is_main_process else nullcontext():
            accelerator.wait_for_everyone()
            yield

    def _finish_interrupted_save(self) -> None:
        """Remove an incomplete checkpoint, and point the links at the complete ones."""
        remove_stale(self.path)
        for folder in (self.path / "checkpoints").glob(".*.tmp"):
            shutil.rmtree(folder)
        remove_copied_links(self.path)
        checkpoints = self._list_checkpoints()
        complete = [path for path in checkpoints if (path / _OPTIMIZER).is_file()]
        if checkpoints and not complete:
            raise UserError(
                f"{self.path}: no checkpoint holds {_OPTIMIZER}, so training cannot continue. Give another output="
            )
        if complete:
            last = complete[-1]
            best = last.with_name(_name_checkpoint(read_state(last, TrainingState).best_step))
            replace_link(self.path / "last", last)
            if best.is_dir():
                replace_link(self.path / "best", best)
            self._remove_unneeded()

    def _list_checkpoints(self) -> list[Path]:
        """Return the complete checkpoints, in the order of their steps."""
        folders = [path for path in (self.path / "checkpoints").glob("step-*") if path.name[5:].isdecimal()]
        return sorted(folders, key=lambda path: int(path.name[5:]))

    def save(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None,
        optimizer: Optimizer,
        state: TrainingState,
        scaler: Scaler,
    ) -> None:
        """Write a checkpoint, update the links to the last and the best, and remove the others.

        Raises:
            WriteError: if the disk is full; earlier checkpoints are intact.
        """
        target = self.path / "checkpoints" / _name_checkpoint(state.step)
        if target.is_dir():
            return  # already saved at this step
        temporary = target.with_name(f".{target.name}.tmp")
        with report_write_errors(target):
            try:
                model.save_pretrained(temporary)
                if tokenizer is not None:
                    for key in _LOADING_ARGUMENTS:  # they differ after a resume, and do not describe the tokenizer
                        tokenizer.init_kwargs.pop(key, None)
                    tokenizer.save_pretrained(temporary)
                save_file(collect_optimizer_tensors(model, optimizer, scaler), temporary / _OPTIMIZER)
                follow_umask(temporary)
                # Not of the state, which has its own: it holds the seconds, which differ in a resumed run.
                write_checksums(temporary, [path.name for path in temporary.iterdir()])
                write_checked_json(temporary / _STATE, asdict(state))
                for path in (*temporary.iterdir(), temporary, self.log_path):
                    sync(path)
                temporary.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            sync(target.parent)
            replace_link(self.path / "last", target)
            if state.best_step == state.step:
                replace_link(self.path / "best", target)
            self._remove_unneeded()

    def _remove_unneeded(self) -> None:
        last = (self.path / "last").resolve()
        best = (self.path / "best").resolve()
        for folder in self._list_checkpoints():
            if folder.resolve() not in (last, best):
                shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.tmp")))
            elif folder.resolve() != last:
                (folder / _OPTIMIZER).unlink(missing_ok=True)

    def load_state(self, model: PreTrainedModel, optimizer: Optimizer, kind: type[State], scaler: Scaler) -> State:
        """Restore optimiser and scaler from the last checkpoint, and return the state of the same checkpoint.

        The model must be loaded from that checkpoint too.

        Raises:
            UserError: if the checkpoint is damaged.
        """
        folder = self.find_checkpoint("last")
        try:
            restore_optimizer(model, optimizer, load_file(folder / _OPTIMIZER), scaler)
        except (SafetensorError, OSError, ValueError, LookupError) as error:
            raise damaged_file_error(folder / _OPTIMIZER, str(error)) from error
        return read_state(folder, kind)

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints, after the trained model was saved elsewhere."""
        for link in ("best", "last"):
            (self.path / link).unlink(missing_ok=True)
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    @property
    def log_path(self) -> Path:
        """Return the path of the log, which has one JSON object per line, with the values of one step."""
        return self.path / "training.jsonl"

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append an entry to the log."""
        with report_write_errors(self.log_path), self.log_path.open("ab") as file:
            append_line(file.fileno(), json.dumps(entry))

    def read_log(self) -> list[dict[str, Any]]:
        """Return the entries of the log; a note counts the lines that are incomplete or damaged."""
        if not self.log_path.is_file():
            return []
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        entries = [entry for entry in map(_parse_entry, lines) if entry is not None]
        if len(entries) < len(lines):
            _logger.warning(
                "note: %d lines of %s cannot be read and are skipped", len(lines) - len(entries), self.log_path
            )
        return entries

    def rewind_log(self, step: int) -> None:
        """Remove the entries after a step, before training resumes from there."""
        kept = [entry for entry in self.read_log() if entry["step"] <= step]
        write_text(self.log_path, "".join(json.dumps(entry) + "\n" for entry in kept))


def _parse_entry(line: str) -> dict[str, Any] | None:
    """Return an entry of the log, a step and numbers; None if the line holds something else."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    usable = isinstance(entry, dict) and isinstance(entry.get("step"), int)
    return entry if usable and all(isinstance(value, int | float) for value in entry.values()) else None


def read_state(folder: Path, kind: type[State]) -> State:
    """Return the training state of a checkpoint. Raises `UserError` if it is missing or damaged."""
    path = folder / _STATE
    more = {field.name: field.type for field in fields(kind) if field.name not in _STATE_TYPES}
    state = kind(**read_checked_fields(path, _STATE_TYPES | more))
    if _name_checkpoint(state.step) != folder.name:
        raise damaged_file_error(path, f"its step is {state.step}")
    return state


def _name_checkpoint(step: int) -> str:
    return f"step-{step:06d}"
