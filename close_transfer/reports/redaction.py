"""What of a run's settings others may read: names of files, and nothing of where they lay or what was run on."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Where a run went and what it ran on; nobody else has use for it.
_OWN = {"embedding_cache", "output", "runs", "run", "device", "resume"}
# Settings that name files or folders; all texts below them do.
_FILES = {
    "root", "captions_root", "files", "image_folders", "annotations", "captions", "val_path", "weights", "text_embeddings",
    "image_embeddings", "statistics", "exclude_overlap_with", "folder",
}  # fmt: skip
# Settings that name a folder, or something that anybody can have by that name: of the hub, of open_clip.
_FILES_OR_HUB = {"path", "name", "model", "tokenizer", "encoder"}
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LOCAL = "local-dir:"  # open_clip's mark of a folder


def redact(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, at any depth, without what is of one machine: paths become the names at their ends.

    Texts that are no names of files (prompts, labels) stay as they are. What it gave, it gives again.
    """
    kept = {key: _portable(key, value) for key, value in settings.items() if key not in _OWN}
    if settings.get("name") != "huggingface" and isinstance(kept.get("path"), str):  # of data: a file
        kept["path"] = _last(kept["path"])
    return kept


def _portable(key: str, value: Any) -> Any:
    if isinstance(value, str):
        if key in _FILES:
            return _last(value)
        return redact_name(value) if key in _FILES_OR_HUB else value
    if isinstance(value, Mapping):
        if key in _FILES:
            return {name: _portable(key, one) for name, one in value.items()}
        return redact(value)
    if isinstance(value, (list, tuple)):
        return [_portable(key, one) for one in value]
    return value


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def redact_name(value: str) -> str:
    """A name of the hub as it is; the last part of anything that is a folder or file, or can be no name of the hub."""
    if value.startswith(_LOCAL):
        return _LOCAL + _last(value.removeprefix(_LOCAL))
    if value.startswith(("hf-hub:", "http://", "https://", "hf://")):
        return value
    is_local = value.startswith(".") or not _HUB_NAME.fullmatch(value) or Path(value).exists()
    return _last(value) if is_local else value


def redact_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config.json as it may be published; the folder of a base_model is its name then, to be given by `base_model=`."""
    kept = {key: value for key, value in config.items() if key != "_name_or_path"}
    kept["encoder"] = redact(kept["encoder"])
    kept["lm"] = {key: value for key, value in kept["lm"].items() if key != "_name_or_path"}
    if kept.get("base_model"):
        kept["base_model"] = redact(kept["base_model"])
    return kept
