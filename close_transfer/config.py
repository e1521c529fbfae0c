"""What a command can be told: one typed schema, checked as a whole before anything runs.

The YAML files in ``configs/`` hold the values; the classes here say which keys exist, their types
and ranges. Every mistake is reported at once, each with its value and what is allowed.
"""

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

TaskName = Literal["captioning", "captioning-multi", "snli-ve", "vqa"]
EvalSplit = Literal["train", "val", "test", "test-novel"]
OnBadRows = Literal["error", "skip"]
Scene = Literal["image", "text"]
Checkpoint = Literal["best", "last"]

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Strict(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    # Config groups of which only the choice counts here; the settings below them cannot be given.
    choices_only: ClassVar[tuple[str, ...]] = ()


C = TypeVar("C", bound=Strict)


class TaskConfig(Strict):
    """What is trained and how its text is shaped."""

    name: TaskName
    noise: NonNegative  # standard deviation per coordinate when `noise` is not given
    max_target_tokens: Positive
    max_prompt_tokens: Positive
    lowercase_targets: bool
    num_beams: Positive


class PicturebookData(Strict):
    """The built-in world."""

    name: Literal["picturebook"]
    seed: Natural
    num_train: Positive  # scenes; the examples a scene gives differ by task
    num_val: Positive
    num_test: Positive
    num_test_novel: Positive
    noise: dict[TaskName, NonNegative]  # where the task's default does not fit this data
    epochs: dict[TaskName, Positive]


class TableData(Strict):
    """Own captions: .txt, .jsonl or .csv, each also .gz."""

    name: Literal["table"]
    path: str
    val_path: str | None
    val_share: Share  # of the scenes, held out for validation when there is no val_path
    text_column: str
    group_column: str | None
    image_column: str | None
    id_column: str | None
    on_bad_rows: OnBadRows
    noise: dict[TaskName, NonNegative]
    epochs: dict[TaskName, Positive]


DataConfig = Annotated[PicturebookData | TableData, Field(discriminator="name")]


class OpenClipConfig(Strict):
    """A frozen encoder that `open_clip` builds."""

    kind: Literal["open_clip"]
    model: str  # an architecture, "local-dir:PATH", "hf-hub:NAME", or "picturebook"
    pretrained: str | None  # a tag of open_clip's list
    weights: str | None  # a local file instead
    batch_size: Positive


class PrecomputedConfig(Strict):
    """Vectors that were encoded elsewhere; row i belongs to line i of the data file."""

    kind: Literal["precomputed"]
    text_embeddings: str | None
    image_embeddings: str | None


ClipConfig = Annotated[OpenClipConfig | PrecomputedConfig, Field(discriminator="kind")]


class AdapterConfig(Strict):
    """What is done to a vector before the mapper sees it."""

    name: Literal["gaussian", "blind"]


class MapperConfig(Strict):
    """How a vector becomes tokens of the language model."""

    name: Literal["linear"]
    num_tokens: Positive
    num_constant_tokens: Natural


class ScratchLM(Strict):
    """A language model built from a config and trained from scratch, tokenizer included."""

    kind: Literal["scratch"]
    name: str
    vocab_size: Annotated[int, Field(ge=300)]
    config: dict[str, Any]  # for transformers' T5Config
    learning_rate: Annotated[float, Field(gt=0)]
    learning_rates: dict[TaskName, Annotated[float, Field(gt=0)]]
    warmup_steps: Natural


class PretrainedLM(Strict):
    """A language model with pretrained weights: a hub name or a local directory."""

    kind: Literal["pretrained"]
    name: str
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Natural


LMConfig = Annotated[ScratchLM | PretrainedLM, Field(discriminator="kind")]


class LoopConfig(Strict):
    """The training loop."""

    epochs: Positive
    max_steps: Positive | None  # stops earlier; the schedule ends there too
    batch_size: Positive  # scenes an optimiser step, over all processes and accumulation
    accumulation: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Natural
    schedule: Literal["linear", "cosine", "constant"]
    weight_decay: NonNegative
    clip_grad_norm: Annotated[float, Field(gt=0)] | None
    precision: Literal["auto", "fp32", "bf16"]
    validations: Positive  # how many, spread over training; the last is at its end
    max_val_examples: Positive
    log_every: Positive
    tensorboard: bool


class StoreConfig(Strict):
    """Where encoded vectors are kept, and in which precision."""

    folder: str
    dtype: Literal["float32", "float16"]


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
    noise: NonNegative | None
    noise_variance: NonNegative | None
    seed: Natural
    output: str | None
    resume: str | None
    runs: str
    device: str

    @model_validator(mode="after")
    def _one_noise(self) -> "TrainConfig":
        if self.noise is not None and self.noise_variance is not None:
            raise ValueError(
                f"noise={self.noise} (a standard deviation) and noise_variance={self.noise_variance} "
                "(its square) are both given; give one of them"
            )
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


class EvalConfig(Strict):
    """All of `eval_image.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: str
    runs: str
    checkpoint: Checkpoint
    data: DataConfig | None = None  # the run's own when None
    clip: ClipConfig | None = None  # the run's own when None
    split: EvalSplit
    scene: Scene
    num_beams: Positive | None
    batch_size: Positive
    max_examples: Positive | None
    store: StoreConfig
    num_bootstrap: Positive
    compare: tuple[str, ...]  # evaluation folders to show beside this one
    output: str | None
    device: str


class PredictConfig(Strict):
    """All of `predict.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    run: str
    runs: str
    checkpoint: Checkpoint
    images: str | None
    embeddings: str | None
    prompt: str
    num_return: Positive
    num_beams: Positive | None
    batch_size: Positive
    output: str
    device: str

    @model_validator(mode="after")
    def _one_input(self) -> "PredictConfig":
        if (self.images is None) == (self.embeddings is None):
            raise ValueError("give exactly one of images=FILE|FOLDER and embeddings=FILE")
        return self


class ContrastiveConfig(Strict):
    """All of `train_picturebook_clip.py`."""

    embed_dim: Positive
    image_size: Positive
    vision: dict[str, Any]  # the rest of open_clip's vision_cfg
    context_length: Positive
    text: dict[str, Any]  # the rest of open_clip's text_cfg
    vocab_size: Annotated[int, Field(ge=300)]
    num_scenes: Positive
    num_test: Positive
    steps: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Positive
    weight_decay: NonNegative
    temperature: Annotated[float, Field(gt=0)]
    learn_temperature: bool
    image_offset: NonNegative  # length that the last bias of each tower starts with
    text_offset: NonNegative
    seed: Natural
    output: str


class ContactSheetConfig(Strict):
    """All of `draw_picturebook.py`."""

    split: Literal["clip", "train", "val", "test", "test-novel"]
    seed: Natural
    columns: Positive
    rows: Positive
    output: str


def noise_std(config: TrainConfig, regime: Literal["text", "images"]) -> float:
    """The standard deviation per coordinate that training uses.

    What the user gave, else none when training on images, else the data's value for the task, else
    the task's own (the values of the paper's code).
    """
    if config.noise is not None:
        return config.noise
    if config.noise_variance is not None:
        return config.noise_variance**0.5
    if regime == "images":
        return 0.0
    return config.data.noise.get(config.task.name, config.task.noise)
