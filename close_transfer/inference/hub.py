"""Where saved models are, in a folder or on the hub, and how they get there."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download

from close_transfer.core.atomic_files import WriteError, read_json, write_json
from close_transfer.core.errors import UserError
from close_transfer.reports.model_card import collect_run_facts, read_about
from close_transfer.reports.redaction import redact_config
from close_transfer.training.run_folder import RunFolder

_CONFIG = "config.json"


def find_model(name: str | Path, checkpoint: str | None) -> tuple[Path, dict[str, Any]]:
    """Where the weights are, and what is known of the model.

    Args:
        name: of a run's folder, a folder of `save_pretrained`, or a model of the hub.
        checkpoint: of a run: "best", which None is too, or "last".

    Raises:
        UserError: if there is no such model, it is damaged, or a checkpoint is asked for of what is no run.
    """
    path = Path(name)
    if checkpoint not in (None, "best", "last"):
        raise UserError(f"checkpoint={checkpoint}: allowed are best and last")
    if path.is_dir() and not (path / _CONFIG).is_file():
        return RunFolder(path).find_intact_checkpoint(checkpoint or "best"), collect_run_facts(path)
    if checkpoint is not None:
        raise UserError(
            f"checkpoint={checkpoint}: {name} is no run but one saved model; leave checkpoint out, or give the run's folder"
        )
    if path.is_dir():
        return path, read_about(path)
    try:
        path = Path(snapshot_download(str(name)))
    except Exception as error:  # the hub's client has another HTTP library, and its errors, from version to version
        raise UserError(
            f"{name}: is no folder here, and cannot be had from the hub ({_format_reason(error)}); give a run's folder, or connect "
            "to the hub"
        ) from error
    return path, read_about(path)


def publish(name: str, private: bool, save: Callable[[Path, str], None]) -> str:
    """Puts a model on the hub, without paths of this machine; gives its address.

    Args:
        name: NAME or OWNER/NAME; is made if it is not there.
        private: whether only its owners see it, where it is made.
        save: writes the model and its card into a folder, by the name with its owner.

    Raises:
        UserError: if the hub refuses or cannot be reached.
    """
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder, hub = Path(temporary), HfApi()
            full_name = hub.create_repo(name, private=private, exist_ok=True).repo_id
            save(folder, full_name)
            write_json(folder / _CONFIG, redact_config(read_json(folder / _CONFIG)))
            hub.upload_folder(repo_id=full_name, folder_path=folder, commit_message="Model of close-transfer")
            return f"{hub.endpoint}/{full_name}"
    except WriteError:
        raise
    except Exception as error:  # as above
        raise UserError(
            f"push_to_hub={name}: the hub did not take it ({_format_reason(error)}); log in by `hf auth login`"
        ) from error


def _format_reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
