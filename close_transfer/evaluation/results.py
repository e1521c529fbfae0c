"""Schema of results.json, which evaluations, baselines and scorings write and all comparisons read.

Files are not trusted: a damaged file is an error that names the field.
"""

import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from close_transfer.core.errors import UserError
from close_transfer.core.readers.records import read_document
from close_transfer.models.noise_scale import describe_adapters
from close_transfer.tasks import TASKS

BUILTIN_DATASET = "picturebook"


class Results(BaseModel):
    """Content of a results.json; a field is None if it does not apply to the command.

    Attributes:
        metrics: value by name, in percent or times 100; empty if the answers are not public.
        intervals: low and high end of the 95% bootstrap interval, by the same names.
        num_examples: number of scored examples.
        tables: tables by name, such as the confusion matrix.
        num_skipped, skipped: number of entries left out, in total and by reason.
        notes: facts about how files were read and metrics computed, one sentence each.
        leakage: overlap of training text and evaluation text (`data/leakage.py`).
        system: name of a system that was not trained here.
        task, data, split: task and data of the evaluation.
        scene: kind of the input, "image" or "text".
        noise: noise that training added, as `NoiseScale.as_dict`, with the `choice` of a rule.
        text_memory: facts about the texts that vectors were projected on; empty if they were not.
        statistics: facts about the statistics that adapters were fitted to.
        data_regime: data that training saw, T0 to T4.
        training_input_modality: "text" or "image".
        validation_input: input that the validation loss was measured on.
        seed: seed of the training.
        run, checkpoint: folder and checkpoint that were evaluated.
        config: settings by command: train and eval, baseline, or score.
        data_fingerprint: fingerprint of the examples, including their inputs.
        references_fingerprint: fingerprint of the examples' ids and references.
        predictions_fingerprint: fingerprint of the file of predictions that was scored.
        training_data_fingerprint: fingerprint of the training examples.
        encoder, clipscore_encoder: name of the encoder, and of CLIPScore's.
        encoder_fingerprint: fingerprint of the encoder's weights.
        reranked_by: facts about the re-ranking of candidates, as `Reranker.facts`.
        scored_by_its_reranker: whether CLIPScore's encoder also re-ranked the captions.
        versions, git_commit: versions of the packages, and commit of this code.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    metrics: dict[str, FiniteFloat]
    intervals: dict[str, Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = {}
    num_examples: int
    tables: dict[str, Any] | None = None
    num_skipped: int = 0
    skipped: dict[str, int] = {}
    notes: list[str] = []
    leakage: dict[str, Any] | None = None
    system: str | None = None
    task: str
    data: str
    split: str | None = None
    scene: str | None = None
    noise: dict[str, Any] | None = None
    text_memory: dict[str, Any] | None = None
    statistics: dict[str, Any] | None = None
    data_regime: str | None = None
    training_input_modality: str | None = None
    validation_input: str | None = None
    seed: int | None = None
    run: str | None = None
    checkpoint: str | None = None
    config: dict[str, dict[str, Any] | None]
    data_fingerprint: str
    references_fingerprint: str | None = None
    predictions_fingerprint: str | None = None
    training_data_fingerprint: str | None = None
    encoder: str | None = None
    encoder_fingerprint: str | None = None
    clipscore_encoder: str | None = None
    reranked_by: dict[str, Any] | None = None
    scored_by_its_reranker: bool | None = None
    versions: dict[str, str] | None = None
    git_commit: str | None = None

    _keys: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _keep_order(cls, values: Any, handler: ModelWrapValidatorHandler["Results"]) -> "Results":
        results = handler(values)
        if isinstance(values, Mapping):
            results._keys = tuple(name for name in values if name in cls.model_fields)
        return results

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the file: the given keys, in the given order."""
        return {name: getattr(self, name) for name in self._keys}

    @property
    def noise_std(self) -> float | None:
        """Return the standard deviation per coordinate of the training noise; None if it is not known."""
        std = (self.noise or {}).get("std")
        return std if isinstance(std, (int, float)) else None

    @property
    def examples_fingerprint(self) -> str:
        """Return a fingerprint that is equal for results on the same examples and references."""
        return self.references_fingerprint or self.data_fingerprint

    @property
    def group(self) -> str:
        """Return the task's results group, equal for tasks whose results belong in one table."""
        return TASKS[self.task].get_results_group() if self.task in TASKS else self.task

    @property
    def has_stated_data(self) -> bool:
        """Return True if `data` names a dataset; scoring without `data_name=` has only the references' file name."""
        score = self.config.get("score")
        return score is None or score.get("data_name") is not None or self.data == BUILTIN_DATASET

    @property
    def is_trained(self) -> bool:
        """Return True if the system is a run trained here, whose settings are known."""
        return self.config.get("train") is not None

    @property
    def marks(self) -> list[str]:
        """Return the parts of the system that come from Picturebook; results with them do not carry over to other data."""
        clips = (
            self.encoder,
            self.get_training_setting("clip", "model"),
            _get_nested(self.config, "eval", "clip", "model"),
        )
        return [
            mark
            for mark, applies in (
                ("Picturebook's CLIP", BUILTIN_DATASET in clips),
                ("trained on Picturebook", self.get_training_setting("data", "name") == BUILTIN_DATASET),
                ("CLIPScore by Picturebook's CLIP", self.clipscore_encoder == BUILTIN_DATASET),
            )
            if applies
        ]

    def get_training_setting(self, *keys: str) -> Any:
        """Return a setting of the training, None if it is missing; `keys` are its path."""
        return _get_nested(self.config, "train", *keys)

    @property
    def name(self) -> str:
        """Return the name of the system in tables."""
        if self.system is not None:
            return self.system
        adapter = self.get_training_setting("adapter")
        return describe_system_settings(
            self.training_input_modality,
            adapter if isinstance(adapter, dict) else {},
            self.noise_std or 0.0,
            self.config.get("eval") or {},
        )


def describe_system_settings(
    training_input_modality: str | None, adapters: Iterable[str], std: float, evaluation: Mapping[str, Any]
) -> str:
    """Describe a system in a few words that distinguish it from others.

    Args:
        training_input_modality: "text" or "image".
        adapters: names of the adapters.
        std: standard deviation per coordinate of the training noise.
        evaluation: settings of `eval_image.py`; those that change the system are named.
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
            *(["in bf16"] if evaluation.get("decoding_precision") == "bf16" else []),
        ]
    )


def _get_nested(value: Any, *keys: str) -> Any:
    """Return the value at a path of keys in nested dicts; None if it is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def read_results(path: Path, setting: str, *, scores_needed: bool = True) -> Results:
    """Read one results.json.

    Args:
        path: path of the file.
        setting: setting that holds the path, for messages.
        scores_needed: whether to refuse results without a metric, which have no public answers.

    Raises:
        UserError: names the file and the field, if the file is damaged or not a results.json.
    """
    try:
        results = Results.model_validate(read_document(path, setting))
    except ValidationError as error:
        first_error = error.errors()[0]
        location = ".".join(str(part) for part in first_error["loc"]) or "the whole"
        raise _build_incomplete_error(setting, path, location, first_error["msg"]) from None
    if scores_needed and not results.metrics:
        raise _build_incomplete_error(setting, path, "metrics", "there are none")
    return results


def _build_incomplete_error(setting: str, path: Path, location: str, message: str) -> UserError:
    return UserError(
        f"{setting}={path}: not a complete results.json ({location}: {message[0].lower()}{message[1:]}). Evaluate again"
    )


def find_results(patterns: Sequence[str], setting: str = "results") -> list[Path]:
    """Find the files that globs match, without duplicates, sorted by name; a folder counts as its results.json.

    Args:
        patterns: paths of files or folders, or globs.
        setting: setting that holds them, for messages.

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
                f"{setting}={pattern} matches no results.json. Evaluate first, and quote a glob: {setting}='runs/**/results.json'"
            )
        for file in sorted(files):  # resolved, because the link "latest" points to a run's folder
            path_by_target.setdefault(file.resolve(), file)
    return sorted(path_by_target.values())
