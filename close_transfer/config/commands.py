"""All settings of each command."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from close_transfer.config.adapters import AdapterConfig
from close_transfer.config.answering import AnsweringConfig
from close_transfer.config.base import AutoNoise, Checkpoint, EvalSplit, NoiseRule, Scene, TaskName
from close_transfer.config.data import DataConfig, HuggingFaceData, Vqa2Data
from close_transfer.config.parts import (
    ClipConfig,
    LMConfig,
    LoopConfig,
    MapperConfig,
    OpenClipConfig,
    StoreConfig,
    TaskConfig,
)
from close_transfer.core.schema import Natural, NonNegative, Positive, Strict
from close_transfer.models.noise_scale import NoiseScale

# Splits of the training data whose text `without_leaks` takes by name; whatever else it names is a file.
LEAK_SPLITS = ("val", "test")
ExtraMetric = Literal["spice", "clipscore"]


_UNITS = {
    "noise": "a standard deviation",
    "noise_variance": "a variance",
    "noise_cosine": "an expected cosine",
}
NOISE_ADAPTERS = {"gaussian", "uniform_ball", "random_magnitude", "cosine_bounded", "covariance_noise"}


DEFAULT_NOISE_RULE: NoiseRule = "largest_coordinate"


def _noise(value: Any) -> Any:
    """The value, where it may be noise; a union would tell of each of its members."""
    if value in (None, *get_args(AutoNoise)):
        return value
    try:
        return TypeAdapter(NonNegative).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"] if not isinstance(value, str) else "is no number"
        raise ValueError(f"{reason}; give 0 or more, or one of {', '.join(get_args(AutoNoise))}") from None


def listed(value: Any) -> Any:
    """A single choice as a list of one."""
    return (value,) if isinstance(value, str) else value


class TrainConfig(Strict):
    """All of `train_text_only.py` and `train_on_images.py`."""

    task: TaskConfig
    data: DataConfig
    clip: ClipConfig
    adapter: AdapterConfig
    mapper: MapperConfig
    lm: LMConfig
    train: LoopConfig
    store: StoreConfig
    noise: Annotated[NonNegative | AutoNoise | None, BeforeValidator(_noise)]
    noise_rule: NoiseRule | None = None  # of noise=auto; runs of earlier versions have none
    noise_variance: NonNegative | None
    noise_cosine: Annotated[float, Field(gt=0, le=1)] | None
    statistics: str | None  # folder of fit_adapter.py
    seed: Natural
    output: str | None
    resume: str | None
    without_leaks: Annotated[tuple[str, ...] | None, BeforeValidator(listed)]  # `LEAK_SPLITS` and files of texts
    without_leaks_column: str = "text"  # of these files; runs of earlier versions have none
    runs: str
    device: str

    @model_validator(mode="after")
    def _one_noise(self) -> "TrainConfig":
        given = {name: getattr(self, name) for name in _UNITS if getattr(self, name) is not None}
        if len(given) > 1:
            told = " and ".join(f"{name}={value} ({_UNITS[name]})" for name, value in given.items())
            raise ValueError(f"{told} are given together; give one of them")
        if any(value != 1 if name == "noise_cosine" else value for name, value in given.items()):
            self._some_adapter_adds_noise(next(iter(given.items())))
        return self

    @model_validator(mode="after")
    def _rule_is_asked(self) -> "TrainConfig":
        if self.noise_rule is not None and self.noise != "auto":
            raise ValueError(f"noise_rule={self.noise_rule} is of noise=auto; give noise=auto, or leave the rule out")
        return self

    @model_validator(mode="after")
    def _noise_is_added_once(self) -> "TrainConfig":
        adding = [name for name in self.adapter.names if name in NOISE_ADAPTERS]
        if len(adding) > 1:
            raise ValueError(f"adapter={','.join(self.adapter.names)}: {' and '.join(adding)} both add noise; keep one")
        shaped = self.adapter.covariance_noise
        if shaped is not None and shaped.shape == "difference" and isinstance(self.noise, str):
            raise ValueError(
                f"noise={self.noise}: adapter.covariance_noise.shape=difference has a scale of its own; leave noise out"
            )
        return self

    @property
    def rule(self) -> NoiseRule:
        """The rule of noise=auto."""
        return self.noise_rule or DEFAULT_NOISE_RULE

    def _some_adapter_adds_noise(self, given: tuple[str, float]) -> None:
        if not NOISE_ADAPTERS.intersection(self.adapter.names):
            raise ValueError(
                f"{given[0]}={given[1]}, but adapter={','.join(self.adapter.names)} adds no noise; add one that does, "
                f"such as adapter=[{','.join((*self.adapter.names, 'gaussian'))}], or leave {given[0]} out"
            )

    @model_validator(mode="after")
    def _auto_has_a_folder(self) -> "TrainConfig":
        if self.resume == "auto" and not self.output:
            raise ValueError("resume=auto continues the run in output=FOLDER, or starts it there; give output=")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> "TrainConfig":
        if self.train.batch_size % self.train.accumulation:
            raise ValueError(
                f"train.batch_size={self.train.batch_size} cannot be split into "
                f"train.accumulation={self.train.accumulation} equal parts; choose a multiple"
            )
        return self


# `task=` names a file of the group; what is in it was settled when the run was trained.
ChosenTask = Annotated[TaskName, BeforeValidator(lambda task: task["name"] if isinstance(task, dict) else task)]


class EvalConfig(AnsweringConfig):
    """All of `eval_image.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: str
    runs: str
    checkpoint: Checkpoint
    base: str | None
    data: DataConfig | None = None  # the run's own when None
    clip: ClipConfig | None = None  # the run's own when None
    split: EvalSplit
    scene: Scene
    batch_size: Positive
    max_examples: Positive | None
    num_bootstrap: Positive
    extra_metrics: Annotated[tuple[ExtraMetric, ...], BeforeValidator(listed)]
    clipscore: OpenClipConfig | None = None  # the encoder that CLIPScore compares with; the run's own when None
    leakage: bool
    compare: tuple[str, ...]  # evaluation folders to show beside this one
    output: str | None
    device: str


class PredictConfig(AnsweringConfig):
    """All of `predict.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: str
    runs: str
    checkpoint: Checkpoint
    base: str | None
    images: str | None
    embeddings: str | None
    modality: Scene
    prompt: str
    batch_size: Positive
    output: str
    device: str

    @model_validator(mode="after")
    def _one_input(self) -> "PredictConfig":
        if (self.images is None) == (self.embeddings is None):
            raise ValueError("give exactly one of images=FILE|FOLDER and embeddings=FILE")
        if self.images is not None and self.modality != "image":
            raise ValueError(f"modality={self.modality}: is of embeddings=FILE, and images= are given; leave it out")
        return self

    @model_validator(mode="after")
    def _names_files(self) -> "PredictConfig":
        for name in ("images", "embeddings", "output"):
            given = getattr(self, name)
            if given is not None and (not given or (name == "output" and not Path(given).name)):
                raise ValueError(f"{name}={given}: names no file; give a path")
        return self


def encoder_note(clip: ClipConfig, data: DataConfig) -> str:
    """What to know where the Picturebook CLIP is given other data; empty elsewhere."""
    if not isinstance(clip, OpenClipConfig) or clip.model != "picturebook" or data.name == "picturebook":
        return ""
    return (
        f"note: the Picturebook CLIP knows Picturebook's language only, so numbers on data={data.name} say nothing; "
        "choose clip=open_clip clip.model=NAME (docs/own_data.md)"
    )


def evaluation_split(data: DataConfig) -> Literal["val", "test"]:
    """The test split, or the validation split where that has no file or no answers."""
    if isinstance(data, Vqa2Data):
        return "test" if "test" in data.files.keys() & data.annotations.keys() else "val"
    if isinstance(data, HuggingFaceData):
        return "test" if data.splits.get("test") else "val"
    return "test" if "test" in getattr(data, "files", ["test"]) else "val"


def given_noise(config: TrainConfig, regime: Literal["text", "images"], dim: int) -> float | AutoNoise:
    """The standard deviation per coordinate that training uses, for vectors `dim` wide, or who chooses it.

    What the user gave, else none when training on images or where no adapter adds noise, else the data's
    value for the task, else the task's own (the values of the paper's code).
    """
    if config.noise is not None:
        return config.noise
    if config.noise_variance is not None:
        return float(config.noise_variance**0.5)
    if config.noise_cosine is not None:
        return NoiseScale.of_cosine(config.noise_cosine, dim).std
    if regime == "images" or not NOISE_ADAPTERS.intersection(config.adapter.names):
        return 0.0
    return config.data.noise.get(config.task.name, config.task.noise)


def without_noise(config: TrainConfig) -> TrainConfig:
    """The same run without noise, and without statistics where only the noise was chosen by them."""
    chosen = config.noise in ("auto-unpaired", "auto-paired")
    only_noise = chosen and set(config.adapter.names) <= NOISE_ADAPTERS - {"covariance_noise"}
    none = {"noise": 0.0, "noise_rule": None, "noise_variance": None, "noise_cosine": None}
    return config.model_copy(update=none | ({"statistics": None} if only_noise else {}))
