"""The content of results.json: one schema that evaluations, baselines and scorings write and everything else reads.

Files are not trusted: a damaged one is an error that names the field.
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
    """The content of a results.json; None where a command has no such thing to say.

    Attributes:
        metrics: value by name, in percent or times 100; empty if nobody published the answers.
        intervals: low and high end of the 95% bootstrap interval, by the same names.
        num_examples: how many were scored.
        tables: what no single number holds, by name, such as the confusion matrix.
        num_skipped, skipped: entries that were left out, in all and by reason.
        leakage: what training may have seen of the evaluation text (`data/leakage.py`).
        system: name of a system that is not a run of ours.
        task, data, split, scene: what was asked, and whether images or texts were shown.
        noise: what training added, as `NoiseScale.as_dict` and the `choice` of a rule.
        text_memory: what vectors were projected on; empty if they were not.
        statistics: what the adapters' statistics were measured on.
        data_regime: what training saw, T0 to T4.
        training_input_modality: "text" or "image".
        validation_input: what the validation loss was measured on.
        seed: of the training.
        run, checkpoint: what was evaluated.
        config: settings by command: train and eval, baseline, or score.
        data_fingerprint, references_fingerprint: of the examples, and of what they were scored against.
        predictions_fingerprint: of a file of predictions that was scored.
        training_data_fingerprint: of the examples that were trained on.
        encoder, clipscore_encoder: names of the encoder, and of CLIPScore's.
        reranked_by: what chose among candidates, as `Reranker.facts`.
        scored_by_its_reranker: whether CLIPScore is of the encoder that chose the captions.
        versions, git_commit: of the packages and of this code.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    metrics: dict[str, FiniteFloat]
    intervals: dict[str, Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = {}
    num_examples: int
    tables: dict[str, Any] | None = None
    num_skipped: int = 0
    skipped: dict[str, int] = {}
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
        """Return the content of the file: those keys that were given, in their order."""
        return {name: getattr(self, name) for name in self._keys}

    @property
    def noise_std(self) -> float | None:
        """Standard deviation per coordinate of the training noise; None if nothing is known of it."""
        std = (self.noise or {}).get("std")
        return std if isinstance(std, (int, float)) else None

    @property
    def examples(self) -> str:
        """A fingerprint that is equal where the same was scored against the same."""
        return self.references_fingerprint or self.data_fingerprint

    @property
    def kind(self) -> str:
        """What was asked and how it was scored; equal for tasks whose results belong into one table."""
        return TASKS[self.task].get_results_group() if self.task in TASKS else self.task

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

    @property
    def name(self) -> str:
        """What a table calls the system."""
        if self.system is not None:
            return self.system
        adapter = self.trained_with("adapter")
        return describe_system_settings(
            self.training_input_modality,
            adapter if isinstance(adapter, dict) else {},
            self.noise_std or 0.0,
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


def read_results(path: Path, setting: str, *, scores_needed: bool = True) -> Results:
    """Read one results.json.

    Args:
        path: of the file.
        setting: the one that named it, for errors.
        scores_needed: whether results without a metric are refused, as those are whose answers nobody published.

    Raises:
        UserError: naming the file and the field, if it is damaged or something else.
    """
    try:
        results = Results.model_validate(read_document(path, setting))
    except ValidationError as error:
        first_error = error.errors()[0]
        location = ".".join(str(part) for part in first_error["loc"]) or "the whole"
        raise _incomplete_error(setting, path, location, first_error["msg"]) from None
    if scores_needed and not results.metrics:
        raise _incomplete_error(setting, path, "metrics", "there are none")
    return results


def _incomplete_error(setting: str, path: Path, location: str, message: str) -> UserError:
    return UserError(
        f"{setting}={path}: {location}: {message[0].lower()}{message[1:]}; this is no complete results.json, so evaluate again"
    )


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
