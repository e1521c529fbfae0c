"""Identity of an evaluated system: the settings that define it, the same on any machine and for any seed."""

import json
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from close_transfer.config.baseline import BaselineConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.roles import Role, drop_idle_settings, drop_settings
from close_transfer.core.schema import StrictModel
from close_transfer.evaluation.results import Results

# Roles of settings that may differ between results of the same system.
_SYSTEM_FREE = (Role.LOCATION, Role.ROOT, Role.REPORTING, Role.THROUGHPUT, Role.SEED, Role.TEST, Role.LABEL)
# Schemas of the commands whose settings a results.json holds.
_SCHEMAS: dict[str, type[StrictModel]] = {
    "train": TrainConfig,
    "eval": EvaluateConfig,
    "baseline": BaselineConfig,
    "score": ScorePredictionsConfig,
}


def collect_system_settings(results: Results) -> dict[str, Any]:
    """Return the settings that define the system, by dotted key; without paths of this machine, and without the seed."""
    settings: dict[str, Any] = {}
    for command, schema in _SCHEMAS.items():
        deciding = drop_settings(schema, results.config.get(command) or {}, *_SYSTEM_FREE)
        settings |= drop_idle_settings(schema, deciding)
    if results.seed is not None:  # each seed of an external system is another file of predictions
        settings.pop("predictions", None)
    portable_settings = {
        key: value if key == "predictions" else _make_portable(value) for key, value in _flatten(settings).items()
    }
    if results.statistics and results.statistics.get("sha256"):  # identifies the statistics at any path
        portable_settings["statistics"] = str(results.statistics["sha256"])[:12]
    # Folders of encoders often have the same last part, such as seed-0. An encoder that belongs to its run, as a captioner's does,
    # has other weights for every seed.
    is_own = portable_settings.get("mapper.name") == "identity"
    if results.encoder_fingerprint and not is_own and _is_path(settings.get("clip", {}).get("model")):
        portable_settings["clip.model"] = results.encoder_fingerprint[:12]
    if results.training_data_fingerprint:
        portable_settings["training_data"] = results.training_data_fingerprint[:12]
    return portable_settings


def identify_system(results: Results) -> str:
    """Return a text that is equal for results of the same system, on any machine and with any seed."""
    settings = collect_system_settings(results)
    if results.training_data_fingerprint:  # identifies the data at any path
        settings = {key: value for key, value in settings.items() if not key.startswith("data.")}
    return json.dumps(settings | {"task": results.task, "noise": results.noise_std}, sort_keys=True)


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in _flatten(item, f"{prefix}.{key}" if prefix else key).items()
        }
    return {prefix: value}


def _make_portable(value: Any) -> Any:
    """Return the last part of a path, so that the same file elsewhere is equal; other values are unchanged."""
    return _get_kind(value)(value).name if _is_path(value) else value


def _is_path(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    path = _get_kind(value)(value)
    # "a/b" may be the name of a model on the hub.
    return path.is_absolute() or value.startswith((".", "~")) or len(path.parts) > 2


def _get_kind(value: str) -> type[PureWindowsPath] | type[PurePosixPath]:
    return PureWindowsPath if "\\" in value else PurePosixPath
