"""Check of a folder with a language model before a library loads it, so that no code in it runs.

Two parts of a folder can run code: pickled weights, and Python files that its settings name. Pickled weights are refused here.
Every call of a loader passes `trust_remote_code=False`, and `build_custom_code_error` explains the refusal.
"""

from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import damaged_file_error, read_json
from close_transfer.core.checksums import CHECKSUMS, check_checksums
from close_transfer.core.errors import UserError

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# Settings that name an implementation of a layer. A name with a slash is a repository whose code would be downloaded.
_IMPLEMENTATIONS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
_MAX_LABELS = 1_000_000  # transformers makes a name for each, although a language model has none


def check_model_folder(name: str | Path) -> None:
    """Check a local folder; of a model on the hub check its config.json, which is downloaded.

    Raises:
        UserError: as `refuse_code`, and if a file is not the one that the folder's checksums.json describes.
    """
    folder = Path(name)
    if not folder.is_dir():
        if config := _download_config(str(name)):
            _check_config(config)
        return
    if (folder / CHECKSUMS).is_file():
        check_checksums(folder)
    refuse_code(folder)


def _download_config(name: str) -> Path | None:
    """Return the config.json of a model on the hub; None if there is none."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json"))
    except Exception:  # of many kinds; the library that loads the model meets and reports it
        return None


def find_model_folder(name: str | Path) -> Path | None:
    """Return the local folder of a model, which for a model on the hub is in its cache; None if there is none."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(str(name), "config.json")
    except ValueError:  # not a name on the hub
        return None
    return Path(config).parent if isinstance(config, str) else None


def refuse_code(folder: Path) -> None:
    """Check that nothing in a folder makes a library run code or load another model.

    Raises:
        UserError: if its weights are pickled, its config.json is damaged or names code elsewhere, or it is an adapter of
            another model.
    """
    if (folder / "config.json").is_file():
        _check_config(folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder}: is an adapter of peft (adapter_config.json), which names another model to load. Merge it into its model "
            "(merge_and_unload), save that with save_pretrained, and give its folder"
        )
    pickles = sorted(
        path.name for pattern in _PICKLES for path in folder.glob(pattern) if path.name != "training_args.bin"
    )
    if pickles and not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder}: its weights are pickled ({pickles[0]}), and loading a pickle can run code. Give a folder with "
            "model.safetensors: load the model with transformers where you trust it, and save it with save_pretrained"
        )


def _check_config(path: Path) -> None:
    config: Any = read_json(path)
    if not isinstance(config, dict):
        raise damaged_file_error(path, "it does not hold a JSON object")
    parts: list[Any] = [config]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts.extend(part)
        if not isinstance(part, dict):
            continue
        for key, value in part.items():
            if key in _IMPLEMENTATIONS and "/" in str(value):
                raise build_custom_code_error(f"{path}: {key}={str(value)[:100]}")
            if key == "num_labels" and isinstance(value, int) and value > _MAX_LABELS:
                raise damaged_file_error(path, f"num_labels={str(value)[:30]} is too large")
        parts.extend(part.values())


def is_custom_code_error(error: BaseException) -> bool:
    """Return True if transformers refused to run code that a model's folder or repository holds."""
    return "trust_remote_code" in str(error) or "custom code" in str(error)


def build_custom_code_error(subject: str) -> UserError:
    """Return the error for a model that works only with code from its folder or repository."""
    return UserError(
        f"{subject}: needs Python code of others, which close-transfer never runs. Give a model whose architecture and tokenizer "
        "are part of the installed libraries"
    )
