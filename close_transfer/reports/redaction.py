"""Redaction of settings for publication: local paths, machine details and secrets are removed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.roles import Names, Role, find_naming_fields, list_fields
from close_transfer.core.secret_texts import KEY_PATTERN

# Matched by name and not by schema, because facts about runs and saved models share keys with settings but have no schema.
_MACHINE_SETTINGS = {name for schema in (TrainConfig, EvaluateConfig) for name in list_fields(schema, Role.LOCATION)}
_FILE_SETTINGS = find_naming_fields(TrainConfig, Names.FILE)  # all texts below them name files
_FILE_OR_HUB_SETTINGS = find_naming_fields(TrainConfig, Names.FILE_OR_HUB) | {"encoder"}  # the encoder of a run's facts
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LOCAL_PREFIX = "local-dir:"  # open_clip's mark of a folder
# Free text, such as a prompt, may quote keys and absolute paths.
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")
_BEGINS_AS_PATH = re.compile(r"(?:~\w*|[A-Za-z]:)?[/\\]")
# A path of at least two parts; the lookbehind leaves addresses and fractions such as 1/2 alone.
_ABSOLUTE_PATH = re.compile(r"(?<![\w:/.])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\",;:]+[/\\])+([^\s/\\'\",;:]*)")


def redact(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without machine details, at any depth; paths are shortened to their last part.

    Texts that do not name files (prompts, labels) are unchanged. Redacting twice changes nothing more.
    """
    redacted = {key: _redact_value(key, value) for key, value in settings.items() if key not in _MACHINE_SETTINGS}
    if settings.get("name") != "huggingface" and isinstance(redacted.get("path"), str):  # of data: a file
        redacted["path"] = _get_last_part(redacted["path"])
    return redacted


def _redact_value(key: str, value: Any) -> Any:
    if isinstance(value, str):
        if key in _FILE_SETTINGS:
            return _get_last_part(value)
        return redact_name(value) if key in _FILE_OR_HUB_SETTINGS else value
    if isinstance(value, Mapping):
        if key in _FILE_SETTINGS:
            return {name: _redact_value(key, item) for name, item in value.items()}
        return redact(value)
    if isinstance(value, (list, tuple)):
        return [_redact_value(key, item) for item in value]
    return value


def _get_last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def redact_name(value: str) -> str:
    """Return a name of the hub unchanged; of anything that is a local path or cannot be such a name, the last part."""
    if value.startswith(_LOCAL_PREFIX):
        return _LOCAL_PREFIX + _get_last_part(value.removeprefix(_LOCAL_PREFIX))
    if value.startswith(("hf-hub:", "http://", "https://", "hf://")):
        return value
    is_local = value.startswith(".") or not _HUB_NAME.fullmatch(value) or Path(value).exists()
    return _get_last_part(value) if is_local else value


def mask_secrets(value: Any) -> Any:
    """Return a value with keys, credentials in addresses and absolute paths masked in its texts, at any depth.

    Paths are shortened to their last part. This covers texts that `redact` leaves unchanged, and settings that it does
    not know.
    """
    if isinstance(value, Mapping):
        return {key: mask_secrets(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_secrets(item) for item in value]
    if not isinstance(value, str):
        return value
    if _BEGINS_AS_PATH.match(value):  # as a whole, because its folders may hold spaces
        return _get_last_part(value)
    return _ABSOLUTE_PATH.sub(r"\1", _CREDENTIALS.sub("", KEY_PATTERN.sub("[key]", value)))


def redact_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's config.json for publication; the folder of a base model becomes its name, for `base_model=`."""
    redacted = {key: value for key, value in config.items() if key != "_name_or_path"}
    redacted["encoder"] = redact(redacted["encoder"])
    redacted["lm"] = {key: value for key, value in redacted["lm"].items() if key != "_name_or_path"}
    if redacted.get("base_model"):
        redacted["base_model"] = redact(redacted["base_model"])
    return redacted
