"""Loading and publishing of saved models: local folders and the Hugging Face hub."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download

from close_transfer.core.atomic_files import WriteError, read_json, write_json
from close_transfer.core.checksums import CHECKSUMS, check_model_checksums, write_checksums
from close_transfer.core.errors import UserError, get_first_line
from close_transfer.reports.model_card import collect_run_facts, read_about
from close_transfer.reports.redaction import redact_config
from close_transfer.training.run_folder import RunFolder

_CONFIG = "config.json"


def find_model(name: str | Path, checkpoint: str | None) -> tuple[Path, dict[str, Any]]:
    """Return the folder with the weights, downloaded if need be, and the facts of the model's card.

    Args:
        name: a run's folder, a folder that `save_pretrained` wrote, or the name of a model on the hub.
        checkpoint: checkpoint of a run, "best" or "last"; None uses "best".

    Raises:
        UserError: if there is no such model, it is damaged, or a checkpoint is given for a model that is not a run.
    """
    path = Path(name)
    if checkpoint not in (None, "best", "last"):
        raise UserError(f"checkpoint={checkpoint} is not a checkpoint of a run. Give best or last")
    if path.is_dir() and not (path / _CONFIG).is_file():
        return RunFolder(path).find_intact_checkpoint(checkpoint or "best"), collect_run_facts(path)
    if checkpoint is not None:
        raise UserError(
            f"checkpoint={checkpoint} only applies to a run, and {name} is a saved model. Leave checkpoint out, or give "
            "the run's folder"
        )
    if path.is_dir():
        check_model_checksums(path)
        return path, read_about(path)
    try:
        path = Path(snapshot_download(str(name)))
    except Exception as error:  # the client's HTTP library, and with it the kinds of its errors, differ by version
        raise UserError(
            f"{name} is not a folder here, and cannot be downloaded from the hub ({get_first_line(error)}). Give a run's "
            "folder, or connect to the hub"
        ) from error
    check_model_checksums(path)
    return path, read_about(path)


def publish(name: str, private: bool, save: Callable[[Path, str], None]) -> str:
    """Upload a model to the hub, without paths of this machine, and return its address.

    Args:
        name: NAME or OWNER/NAME of the repository, which is created if it does not exist.
        private: True makes a new repository visible to its owners only; an existing one stays as it is.
        save: writes the model and its card into a folder, given the folder and OWNER/NAME.

    Raises:
        UserError: if the hub refuses the upload or cannot be reached.
        WriteError: if the model cannot be written to the temporary folder.
    """
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder, hub = Path(temporary), HfApi()
            full_name = hub.create_repo(name, private=private, exist_ok=True).repo_id
            save(folder, full_name)
            write_json(folder / _CONFIG, redact_config(read_json(folder / _CONFIG)))
            write_checksums(folder, read_json(folder / CHECKSUMS).keys())
            hub.upload_folder(repo_id=full_name, folder_path=folder, commit_message="Model of close-transfer")
            return f"{hub.endpoint}/{full_name}"
    except WriteError:
        raise
    except Exception as error:  # of many kinds, as in `find_model`
        raise UserError(
            f"push_to_hub={name}: the hub did not accept the model ({get_first_line(error)}). Log in with `hf auth "
            "login`, or check the name"
        ) from error
