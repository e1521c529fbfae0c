"""The parts of a saved model's config.json, and the check that a file holds them.

They are dictionaries, because transformers writes and compares them as JSON; their keys and types are checked by mypy in code
and by pydantic when a file is read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on

from close_transfer.config.choices import DataRegime
from close_transfer.core.atomic_files import damaged_file_error, read_json
from close_transfer.core.schema import Natural, Positive, describe_first_problem
from close_transfer.models.prompt_format import Format


class SavedEncoder(TypedDict):
    """The frozen encoder that the model was trained on; `config` builds it again."""

    name: str
    dim: Positive
    fingerprint: str
    config: NotRequired[dict[str, Any]]


class SavedAdapter(TypedDict):
    """One adapter of the chain; the other keys are its settings."""

    name: str


class SavedMapper(TypedDict):
    """The mapper; the other keys are its settings."""

    name: str


class SavedNoise(TypedDict):
    """Noise of the training, in all units, and the choice of a rule."""

    std: float
    variance: NotRequired[float]
    length: NotRequired[float]
    cosine: NotRequired[float]
    choice: NotRequired[dict[str, Any]]


class SavedTask(TypedDict):
    """Settings of the task, as `TaskConfig`; None is a setting that the task does not have."""

    name: str
    max_prompt_tokens: Positive
    max_target_tokens: Positive
    num_beams: Positive
    lowercase_targets: NotRequired[bool]
    prompt: NotRequired[str | None]
    language: NotRequired[str | None]
    metric: NotRequired[str | None]
    labels: NotRequired[Sequence[str] | None]


class SavedTextFormat(TypedDict):
    """Text format of the language model (`prompt_format.py`), and the ids before the vector's tokens."""

    kind: Format
    before: list[Natural]


class SavedBaseModel(TypedDict):
    """A language model whose weights are not saved, or only its low-rank updates; `folder` is None for one of the hub."""

    name: str
    folder: str | None
    fingerprint: str
    dtype: str
    lora: dict[str, Any] | None


class SavedLanguageModel(TypedDict):
    """The language model's own config; the other keys are transformers'."""

    model_type: str


class SavedStatistics(TypedDict):
    """Data that the adapters' statistics were measured on."""

    data: str
    split: str
    num_texts: int | None
    num_scenes: int | None
    num_images: int | None
    paired: bool | None
    data_fingerprint: str | None
    sha256: str


class _SavedConfig(TypedDict):
    encoder: SavedEncoder
    adapter: list[SavedAdapter]
    mapper: SavedMapper
    noise: SavedNoise
    task: SavedTask
    data_regime: DataRegime
    lm: SavedLanguageModel
    text_format: SavedTextFormat
    base_model: NotRequired[SavedBaseModel | None]
    statistics: NotRequired[SavedStatistics | None]


_SCHEMA = TypeAdapter(_SavedConfig)


def check_saved_config(path: Path) -> None:
    """Check that a config.json holds all parts of a model.

    Raises:
        UserError: naming the file and the field, if one is missing or of another type.
    """
    try:
        _SCHEMA.validate_python(read_json(path), strict=True)
    except ValidationError as error:
        raise damaged_file_error(path, describe_first_problem(error)) from None
