"""A run's beginning: where it goes, what it was asked for, facts about what it saw.

Its checkpoints and logs are in `run_folder.py`.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from close_transfer.config.choices import InputModality
from close_transfer.config.train import TrainConfig
from close_transfer.core.atomic_files import (
    damaged_file_error,
    read_fields,
    replace_link,
    report_write_errors,
    write_json,
    write_text,
)
from close_transfer.core.errors import UserError
from close_transfer.core.roles import Role, drop_settings

# What training saw, in the codes that later work uses to keep comparisons fair.
DATA_REGIMES: dict[InputModality, str] = {"text": "T0", "image": "T4"}

# What is used of facts.json.
_FACTS = dict.fromkeys(("data_regime", "input_modality", "validation_input", "data_fingerprint", "encoder"), str)


def choose_folder(config: TrainConfig) -> tuple[Path, bool]:
    """Where the run goes, and whether it was begun before.

    Raises:
        UserError: as `_new_folder` and `_resumed_folder`.
    """
    if config.resume is None:
        return _new_folder(config), False
    if config.resume == "auto" and not _is_run(Path(config.output or "")):
        return Path(config.output or ""), False
    return _resumed_folder(config), True


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


def is_saved_model(folder: Path) -> bool:
    """Whether this is one model as `save_pretrained` writes it (or one checkpoint), and not a run's folder."""
    return (folder / "config.json").is_file() and not _is_run(folder)


def _new_folder(config: TrainConfig) -> Path:
    """Where a new run goes: `output`, or a folder named by task and time. Nothing is made yet.

    Raises:
        UserError: if `output` holds a run already.
    """
    if config.output:
        folder = Path(config.output)
        if _is_run(folder):
            raise UserError(
                f"output={folder} holds a run already; give another folder, or continue it with resume={folder}"
            )
        return folder
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = Path(config.runs) / config.task.name / stamp
    number = 1
    while folder.exists():
        number += 1
        folder = folder.with_name(f"{stamp}_{number}")
    return folder


def _resumed_folder(config: TrainConfig) -> Path:
    """The folder of the run to continue.

    Raises:
        UserError: as `read_run`, and if it was started with other settings.
    """
    assert config.resume is not None
    folder = (
        Path(config.output or Path(config.runs) / config.task.name / "latest")
        if config.resume in ("latest", "auto")
        else Path(config.resume)
    )
    if not _is_run(folder):
        raise UserError(f"resume={config.resume}: there is no run at {folder}; start one without resume=")
    # The batch sizes of encoders count: with another one the vectors, and so the run, agree but for rounding.
    saved, now = (
        drop_settings(TrainConfig, one.model_dump(mode="json"), Role.LOCATION, Role.REPORTING)
        for one in (read_run(folder)[0], config)
    )
    differing = [key for key in now if now[key] != saved.get(key)]
    if differing:
        what = "; ".join(f"{key} was {saved[key]} and is {now[key]}" for key in differing)
        raise UserError(
            f"resume={config.resume}: the run at {folder} was started with other settings ({what}); give the same ones"
        )
    return folder.resolve()


def start_run(config: TrainConfig, folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes facts and settings, and points the task's `latest` at the folder.

    The settings come last of what is in the folder: with them it is a run, which can be continued.

    Raises:
        WriteError: if it cannot be written.
    """
    write_json(folder / "facts.json", facts)
    write_text(folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    latest = Path(config.runs) / config.task.name / "latest"
    with report_write_errors(latest):
        latest.parent.mkdir(parents=True, exist_ok=True)
    replace_link(latest, folder.absolute())


def read_run(folder: Path) -> tuple[TrainConfig, dict]:
    """What a run was asked for, and facts about its training data.

    Raises:
        UserError: if the folder holds no run, a damaged one, or one whose settings this version does not know.
    """
    if not _is_run(folder):
        raise UserError(f"run={folder}: there is no run; give the folder that training named at its end")
    saved = _saved_settings(folder)
    try:
        config = TrainConfig.model_validate(saved)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"run={folder}: config.yaml, {where}: {first['msg']}; another version wrote this run, so train it again, "
            "or use it with that version"
        ) from None
    return config, read_fields(folder / "facts.json", _FACTS)


def _saved_settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise damaged_file_error(path, " ".join(str(error).split())) from error
    if not isinstance(saved, dict):
        raise damaged_file_error(path, "it holds no settings")
    return saved


def find_run(run: str, runs: str, task: str) -> Path:
    """The folder of a run; "latest" is the newest of the task.

    Raises:
        UserError: if there is none, with the command that makes one; if it is a saved model, with what takes that.
    """
    folder = Path(runs) / task / "latest" if run == "latest" else Path(run)
    if is_saved_model(folder):
        raise UserError(
            f"run={run}: is one saved model and no run, so there are no settings, data or results of its training; "
            "predict.py and TransferModel.from_pretrained take it, here give the folder that training named at its end"
        )
    if not _is_run(folder):
        raise UserError(
            f"run={run}: there is no run of {task} at {folder}; train one first: python scripts/train_text_only.py task={task}"
        )
    return folder.resolve()
