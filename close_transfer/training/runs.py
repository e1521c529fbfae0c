"""Runs: choosing the folder of a new run, starting a run, finding and reading one.

`run_folder.py` handles the checkpoints and the log in that folder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from pydantic import ValidationError

from close_transfer.config.choices import InputModality
from close_transfer.config.encoder_folder import prefer_own_encoder
from close_transfer.config.train import TrainConfig
from close_transfer.core.atomic_files import (
    check_replaceable_link,
    damaged_file_error,
    replace_link,
    report_write_errors,
    write_text,
)
from close_transfer.core.errors import UserError
from close_transfer.core.new_folders import create_new_folder, name_by_time
from close_transfer.core.roles import Role, drop_settings
from close_transfer.core.schema import describe_first_problem
from close_transfer.training.run_facts import read_facts, write_facts

# Data regime of each training modality, before noise and adapters; T0 is text only, T4 is paired images.
DATA_REGIMES: dict[InputModality, str] = {"text": "T0", "image": "T4"}


def choose_folder(config: TrainConfig) -> tuple[Path, bool]:
    """Return the run's folder, and True if the run was begun before.

    Raises:
        UserError: as `_choose_new_folder` and `_find_resumed_folder`.
    """
    if config.resume is None:
        return _choose_new_folder(config), False
    if config.resume == "auto" and not _is_run(Path(config.output or "")):
        return Path(config.output or ""), False
    return _find_resumed_folder(config), True


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


def is_saved_model(folder: Path) -> bool:
    """Return True if this is one model as `save_pretrained` writes it (or one checkpoint), not a run's folder."""
    return (folder / "config.json").is_file() and not _is_run(folder)


def _choose_new_folder(config: TrainConfig) -> Path:
    """Return the folder of a new run, `output` or a name from task and time, which `reserve_folder` may change.

    Raises:
        UserError: if `output` holds a run already.
    """
    if config.output:
        check_is_new(Path(config.output))
        return Path(config.output)
    return name_by_time(Path(config.runs) / config.task.name)


def check_is_new(folder: Path) -> None:
    """Raise `UserError` if a folder holds a run already."""
    if _is_run(folder):
        raise UserError(
            f"output={folder} holds a run already. Give another folder, or continue the run with resume={folder}"
        )


def reserve_folder(config: TrainConfig, folder: Path, accelerator: Accelerator) -> Path:
    """Return the folder of a new run, the same in all processes. One named by the time is created, and no other has it.

    Jobs of the same second get `folder`, `folder_2` and so on.

    Raises:
        WriteError: if it cannot be created.
    """
    if config.output:
        return folder
    reserved = [create_new_folder(folder) if accelerator.is_main_process else folder]
    return broadcast_object_list(reserved)[0]


def _find_resumed_folder(config: TrainConfig) -> Path:
    """Return the folder of the run to continue.

    Raises:
        UserError: as `read_run`, and if the run was started with other settings.
    """
    assert config.resume is not None
    folder = (
        Path(config.output or Path(config.runs) / config.task.name / "latest")
        if config.resume in ("latest", "auto")
        else Path(config.resume)
    )
    if not _is_run(folder):
        raise UserError(f"resume={config.resume}: there is no run at {folder}. Start one without resume=")
    # Encoders' batch sizes are compared too: they change the rounding of the vectors, and so the run.
    saved, now = (
        drop_settings(TrainConfig, settings.model_dump(mode="json"), Role.LOCATION, Role.REPORTING)
        for settings in (read_run(folder)[0], config)
    )
    differing = [key for key in now if now[key] != saved.get(key)]
    if differing:
        differences = "; ".join(f"{key} was {saved[key]} and is {now[key]}" for key in differing)
        raise UserError(
            f"resume={config.resume}: the run at {folder} was started with other settings ({differences}). Give the same ones"
        )
    return folder.resolve()


def write_run(config: TrainConfig, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write facts, then settings: a folder that has settings is a run, which can be continued.

    Raises:
        WriteError: if a file cannot be written.
    """
    write_facts(folder, facts)
    write_text(folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def start_run(config: TrainConfig, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write facts and settings, and point the task's `latest` link at the folder.

    Raises:
        UserError: if `latest` is a folder.
        WriteError: if a file cannot be written.
    """
    latest = Path(config.runs) / config.task.name / "latest"
    check_replaceable_link(latest)
    write_run(config, folder, facts)
    with report_write_errors(latest):
        latest.parent.mkdir(parents=True, exist_ok=True)
    replace_link(latest, folder.absolute())


def read_run(folder: Path) -> tuple[TrainConfig, dict]:
    """Return a run's settings, and facts about its training data.

    Raises:
        UserError: if the folder holds no run, a damaged one, or one whose settings this version does not know.
    """
    if not _is_run(folder):
        raise UserError(f"run={folder}: there is no run. Give the folder that training printed at its end")
    saved = _read_saved_settings(folder)
    try:
        config = TrainConfig.model_validate(saved)
    except ValidationError as error:
        raise UserError(
            f"run={folder}: config.yaml, {describe_first_problem(error)}; another version wrote this run. Train again, or use the run "
            "with that version"
        ) from None
    config = config.model_copy(update={"clip": prefer_own_encoder(config.clip, folder)})
    return config, read_facts(folder)


def _read_saved_settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise damaged_file_error(path, " ".join(str(error).split())) from error
    if not isinstance(saved, dict):
        raise damaged_file_error(path, "it holds no settings")
    return saved


def find_run(run: str, runs: str, task: str) -> Path:
    """Return the folder of a run; "latest" is the newest run of the task.

    Raises:
        UserError: if there is no run (the message has the command that trains one), or if it is a saved model.
    """
    folder = Path(runs) / task / "latest" if run == "latest" else Path(run)
    if is_saved_model(folder):
        raise UserError(
            f"run={run}: is a saved model, which has no settings, data or results of its training. Give the folder that "
            "training printed at its end; only predict.py and TransferModel.from_pretrained take a saved model"
        )
    if not _is_run(folder):
        raise UserError(
            f"run={run}: there is no run of task={task} at {folder}. Train one first: python scripts/train_text_only.py task={task}"
        )
    return folder.resolve()
