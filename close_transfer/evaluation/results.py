"""Reads what evaluations and scorings wrote, trusting none of it: results.json and scores.jsonl."""

import glob
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from close_transfer.config.baseline import BaselineConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import key_field, read_document, read_lines
from close_transfer.core.roles import Role, drop_idle_settings, drop_settings
from close_transfer.core.schema import StrictModel
from close_transfer.models.noise_scale import describe_adapters

BUILTIN_DATASET = "picturebook"

# Roles of settings that may differ between two results of one system.
_SYSTEM_FREE = (Role.LOCATION, Role.ROOT, Role.REPORTING, Role.THROUGHPUT, Role.SEED, Role.TEST, Role.LABEL)
# The commands whose settings a results.json holds.
_SCHEMAS: dict[str, type[StrictModel]] = {
    "train": TrainConfig,
    "eval": EvaluateConfig,
    "baseline": BaselineConfig,
    "score": ScorePredictionsConfig,
}
_CAPTIONING_TASKS = ("captioning", "captioning-multi")  # trained differently, asked and scored alike


class Results(BaseModel):
    """What is used of a results.json."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    metrics: Annotated[dict[str, FiniteFloat], Field(min_length=1)]
    intervals: dict[str, Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = {}
    num_examples: int
    num_skipped: int = 0
    skipped: dict[str, int] = {}
    task: str
    data: str
    split: str | None = None
    scene: str | None = None
    noise: dict[str, Any] | None = None
    data_regime: str | None = None
    training_input_modality: str | None = None
    seed: int | None = None
    system: str | None = None
    encoder: str | None = None
    clipscore_encoder: str | None = None
    training_data_fingerprint: str | None = None
    statistics: dict[str, Any] | None = None
    config: dict[str, dict[str, Any] | None]
    data_fingerprint: str
    references_fingerprint: str | None = None

    @property
    def examples(self) -> str:
        """A fingerprint that is equal where the same was scored against the same."""
        return self.references_fingerprint or self.data_fingerprint

    @property
    def kind(self) -> str:
        """What was asked and how it was scored; equal for tasks whose results belong into one table."""
        return _CAPTIONING_TASKS[0] if self.task in _CAPTIONING_TASKS else self.task

    @property
    def states_data(self) -> bool:
        """Whether `data` was said by someone, and is not just the name of the references' file."""
        score = self.config.get("score")
        return score is None or score.get("data_name") is not None or self.data == BUILTIN_DATASET

    @property
    def is_trained(self) -> bool:
        """Whether it is a run of ours, whose settings are known."""
        return self.config.get("train") is not None

    @property
    def marks(self) -> list[str]:
        """What of Picturebook is in the system, which says nothing about other data."""
        clips = (self.encoder, self.trained_with("clip", "model"), _get_nested(self.config, "eval", "clip", "model"))
        return [
            mark
            for mark, applies in (
                ("Picturebook's CLIP", BUILTIN_DATASET in clips),
                ("trained on Picturebook", self.trained_with("data", "name") == BUILTIN_DATASET),
                ("CLIPScore by Picturebook's CLIP", self.clipscore_encoder == BUILTIN_DATASET),
            )
            if applies
        ]

    def trained_with(self, *keys: str) -> Any:
        """A setting of the training; None where there is none."""
        return _get_nested(self.config, "train", *keys)

    def settings(self) -> dict[str, Any]:
        """All that makes the system what it is, by dotted key, the same on any machine; not the seed."""
        settings: dict[str, Any] = {}
        for command, schema in _SCHEMAS.items():
            deciding = drop_settings(schema, self.config.get(command) or {}, *_SYSTEM_FREE)
            settings |= drop_idle_settings(schema, deciding)
        if self.seed is not None:  # seeds of someone else's system are files with the same name= and a seed= each
            settings.pop("predictions", None)
        portable_settings = {
            key: value if key == "predictions" else _make_portable(value) for key, value in _flatten(settings).items()
        }
        if self.statistics and self.statistics.get("sha256"):  # what was fitted, wherever it lies
            portable_settings["statistics"] = str(self.statistics["sha256"])[:12]
        if self.training_data_fingerprint:
            portable_settings["training_data"] = self.training_data_fingerprint[:12]
        return portable_settings

    def identity(self) -> str:
        """Text that is equal for results of one system, whichever machine and seed."""
        settings = self.settings()
        if self.training_data_fingerprint:  # it stands for the data, wherever they lie
            settings = {key: value for key, value in settings.items() if not key.startswith("data.")}
        return json.dumps(settings | {"task": self.task, "noise": (self.noise or {}).get("std")}, sort_keys=True)

    @property
    def name(self) -> str:
        """What a table calls the system."""
        if self.system is not None:
            return self.system
        adapter, std = self.trained_with("adapter"), (self.noise or {}).get("std")
        return describe_system_settings(
            self.training_input_modality,
            adapter if isinstance(adapter, dict) else {},
            std if isinstance(std, (int, float)) else 0.0,
            self.config.get("eval") or {},
        )


def describe_system_settings(
    training_input_modality: str | None, adapters: Iterable[str], std: float, evaluation: Mapping[str, Any]
) -> str:
    """A few words that tell one system from another.

    Args:
        training_input_modality: "text" or "image".
        adapters: by name.
        std: of the noise.
        evaluation: settings of `eval_image.py`; what of them changes the system is told.
    """
    if "blind" in adapters:
        return "blind (sees nothing)"
    trained = {"text": "trained on text", "image": "trained on images"}.get(training_input_modality or "", "system")
    descriptions = {"text_memory": "on a memory of texts", "top_p": "sampled", "rerank": "re-ranked"}
    return ", ".join(
        [
            trained,
            describe_adapters(adapters, std),
            *(words for key, words in descriptions.items() if evaluation.get(key)),
        ]
    )


def _get_nested(value: Any, *keys: str) -> Any:
    """What stands below the keys; None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in _flatten(item, f"{prefix}.{key}" if prefix else key).items()
        }
    return {prefix: value}


def _make_portable(value: Any) -> Any:
    """A setting that is a path as its last part, so that the same file elsewhere is the same."""
    if not isinstance(value, str):
        return value
    kind = PureWindowsPath if "\\" in value else PurePosixPath
    # "a/b" may be the name of a model at a hub.
    is_path = kind(value).is_absolute() or value.startswith((".", "~")) or len(kind(value).parts) > 2
    return kind(value).name if is_path else value


def read_results(path: Path, setting: str) -> Results:
    """One results.json.

    Raises:
        UserError: naming the file and the field, if it is damaged or something else.
    """
    document = read_document(path, setting)
    try:
        return Results.model_validate(document)
    except ValidationError as error:
        first_error = error.errors()[0]
        location = ".".join(str(part) for part in first_error["loc"]) or "the whole"
        raise UserError(
            f"{setting}={path}: {location}: {first_error['msg'][0].lower()}{first_error['msg'][1:]}; this is no complete results.json, so evaluate again"
        ) from None


def find_results(patterns: Sequence[str], setting: str = "results") -> list[Path]:
    """The files that the globs match, in the order of their names, each once; a folder stands for its results.json.

    Raises:
        UserError: if a glob matches nothing.
    """
    path_by_target: dict[Path, Path] = {}
    for pattern in patterns:
        matches = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207  absolute ones too
        files = [path / "results.json" if path.is_dir() else path for path in matches]
        files = [path for path in files if path.is_file()]
        if not files:
            raise UserError(
                f"{setting}={pattern}: matches no results.json; evaluate first, and quote a glob: {setting}='runs/**/results.json'"
            )
        for file in sorted(files):  # a run's folder and the link "latest" to it are one
            path_by_target.setdefault(file.resolve(), file)
    return sorted(path_by_target.values())


def read_scores(folder: Path) -> tuple[str, dict[str, float]]:
    """The leading metric's name, and its value by example id.

    Raises:
        UserError: if there are none, or the file is damaged.
    """
    path = folder / "scores.jsonl"
    if not path.is_file():
        raise UserError(
            f"compare={folder}: there is no scores.jsonl, which holds the score of every example; evaluate or score that system again"
        )
    scores: dict[str, float] = {}
    metric = ""
    for line, record in read_lines(path, "compare"):
        try:
            example_id = key_field(record, "id")
            (metric_here,) = (key for key in record if key != "id")
            value = record[metric_here]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise RecordError(f"field {metric_here!r} is no number")
            if example_id in scores or metric_here != (metric or metric_here):
                raise RecordError("the id stands there twice, or the metric changes")
        except (RecordError, ValueError) as fault:
            raise UserError(f"{path}, line {line}: {fault}; the file is damaged, so evaluate again") from None
        metric, scores[example_id] = metric_here, float(value)
    if not scores:
        raise UserError(f"{path}: is empty; evaluate again")
    return metric, scores
