"""Folder of a pretraining, of a language model, a text tower or an image encoder: what it may hold before the training, and where it continues."""

from dataclasses import dataclass
from pathlib import Path

from close_transfer.config.encoder_folder import ENCODER_FOLDER, SIZES_FILE
from close_transfer.core.atomic_files import read_fields
from close_transfer.core.errors import UserError
from close_transfer.training.run_folder import RunFolder, TrainingState, read_state


@dataclass
class PretrainingState(TrainingState):
    """State of a pretraining.

    Attributes:
        identity: fingerprint of the settings and data; only a training with the same one can be resumed.
    """

    identity: str = ""


def check_pretraining_folder(output: str, resume: bool, summary: str, settings: str) -> Path:
    """Return the folder of a pretraining, which need not exist yet.

    Args:
        output: path of the folder.
        resume: True to continue the training that it holds.
        summary: name of the file that a finished or stopped training leaves.
        settings: settings of later commands that take the finished folder, up to its path, such as `run=`.

    Raises:
        UserError: if it is a file, holds another model, or has nothing to continue.
    """
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output={folder} is a file. Give the path of a folder")
    if not resume:
        names = (summary, "last", "config.yaml", "config.json", f"{ENCODER_FOLDER}/{SIZES_FILE}")
        if any((folder / name).exists() for name in names):
            raise UserError(
                f"output={folder} holds a model already. Give another folder, or continue an interrupted training "
                "with resume=true"
            )
        return folder
    if not folder.is_dir():
        raise UserError(f"resume=true: there is no training at output={folder}. Start one without resume=true")
    if (folder / summary).is_file() and not read_fields(folder / summary, {"stopped_early": bool})["stopped_early"]:
        raise UserError(
            f"resume=true: the training in {folder} is finished. Use it with {settings}{folder}, or give another output="
        )
    return folder


def find_resumed_checkpoint(
    run: RunFolder, resume: bool, state_class: type[PretrainingState], identity: str
) -> Path | None:
    """Return the checkpoint to continue from; None for a new training, or one that was killed before its first checkpoint.

    Raises:
        UserError: if the training was started with other settings or data.
    """
    if not (resume and run.has_checkpoint):
        return None
    last = run.find_intact_checkpoint("last")
    if read_state(last, state_class).identity != identity:
        raise UserError(
            f"resume=true: the training in {run.path} was started with other settings or data. Give the same ones, or "
            "another output="
        )
    return last
