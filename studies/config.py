"""Settings of the studies."""

import shlex
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from close_transfer.config.choices import (
    AutoNoise,
    ChosenTask,
    EvalSplit,
    Given,
    InputModality,
    NoiseRule,
    TaskName,
    as_tuple,
)
from close_transfer.config.data import DataConfig
from close_transfer.core.schema import AboveZero, Natural, NonNegative, Positive, StrictModel


class SystemConfig(StrictModel):
    """One row of a study's table, by what a user would type."""

    input_modality: InputModality = "text"
    train_overrides: str = ""  # settings of train_text_only.py or train_on_images.py
    statistics_overrides: str | None = (
        None  # settings of compute_statistics.py; what it fits is the training's statistics=
    )
    eval_overrides: str = ""  # settings of eval_image.py
    run: str | None = None  # the system whose training this one tests in its own way
    baseline: Literal["nearest", "zero-shot"] | None = None  # of baseline.py, in place of a training
    tasks: tuple[TaskName, ...] | None = None  # those it is for; None: all of the study's


class RunStudyConfig(StrictModel):
    """Settings of `run_study.py`."""

    name: str
    tasks: Annotated[tuple[TaskName, ...], Field(min_length=1)]
    baseline: str  # the system that the others are set against
    systems: Annotated[dict[str, SystemConfig], Field(min_length=1)]
    cosines: bool  # a column with the mean cosine of texts and images behind the adapters
    costs: bool = False  # columns with the parameters that were trained, and the minutes it took
    train_overrides: str  # of all trainings
    task_overrides: dict[TaskName, str]  # of the trainings of one task
    eval_overrides: str  # of all tests
    seeds: Positive
    split: EvalSplit
    num_bootstrap: Positive
    num_workers: Positive
    output: str

    def of_task(self, task: str) -> str:
        """Settings of the trainings of this task alone."""
        return next((settings for name, settings in self.task_overrides.items() if name == task), "")

    def has(self, name: str, task: str) -> bool:
        """Whether a system is for a task."""
        tasks = self.systems[name].tasks
        return tasks is None or task in tasks

    @model_validator(mode="after")
    def _check_system_names(self) -> "RunStudyConfig":
        name_by_setting = {"baseline": self.baseline}
        name_by_setting |= {
            f"systems.{name}.run": system.run for name, system in self.systems.items() if system.run is not None
        }
        for setting, name in name_by_setting.items():
            if name not in self.systems:
                raise ValueError(f"{setting}={name}: there is no such system; allowed are {', '.join(self.systems)}")
        if not all(self.has(self.baseline, task) for task in self.tasks):
            raise ValueError(f"baseline={self.baseline}: is not for all of the tasks {', '.join(self.tasks)}")
        return self


class StudyFewShotConfig(StrictModel):
    """Settings of `study_few_shot.py`."""

    runs: Annotated[tuple[str, ...], Field(min_length=1)]  # captioners with a frozen language model
    data: DataConfig | None = None  # with the questions; each run's own when None
    shots: Annotated[tuple[Natural, ...], Field(min_length=1)]
    num_supports: Positive  # training questions that shots are drawn from
    max_examples: Positive | None
    form: str  # of a question
    max_words: Positive | None  # of an answer
    split: EvalSplit
    seeds: Positive
    num_bootstrap: Positive
    output: str
    device: str


def _check_unpaired_adapters(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names if each adapter is fitted on unpaired images, which is what the study fits them on."""
    from close_transfer.models.adapters import ADAPTERS  # here, because it imports torch

    allowed = [name for name, adapter in ADAPTERS.items() if adapter.data_regime == "T1"]
    if unknown := [name for name in names if name not in allowed]:
        raise ValueError(f"{unknown[0]} is not fitted on unpaired images; choose among {', '.join(allowed)}")
    return names


class RealSystemConfig(StrictModel):
    """One row of the study on real vectors."""

    name: str
    input_modality: InputModality = "text"
    noise: NonNegative | AutoNoise = "auto"
    rule: NoiseRule | None = None  # of noise=auto
    adapter: Annotated[tuple[str, ...], AfterValidator(_check_unpaired_adapters)] = ()
    text_memory: bool = False  # images are projected on the training captions


class StudyRealVectorsConfig(StrictModel):
    """Settings of `study_real_vectors.py`."""

    pairs: str  # folder with image_embeddings.npy, caption_embeddings.npy, captions.jsonl
    language_model: str | None  # folder of a language model; None: only the probe
    noises: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    systems: tuple[RealSystemConfig, ...]  # beside text at these noises, and images
    num_pairs: Positive  # that noise=auto-paired sees
    text_memory_temperature: AboveZero
    folds: Annotated[int, Field(ge=2)]
    seeds: Positive
    least_keyword: Positive
    most_keyword: Positive
    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    num_beams: Positive
    max_target_tokens: Positive
    num_bootstrap: Positive
    num_workers: Positive
    output: str


class StudyCorporaConfig(StrictModel):
    """Settings of `study_corpora.py`."""

    corpora: Annotated[
        tuple[str, ...], Field(min_length=1)
    ]  # corpus.jsonl of synthesize_captions.py, or tables with `text`
    sizes: Annotated[tuple[Positive, ...], Field(min_length=1)]  # texts from the beginning of each
    extra_systems: tuple[str, ...]  # settings of train_text_only.py, each a row that trains on something else
    train_overrides: str  # of train_text_only.py, for all trainings
    eval_overrides: str  # of eval_image.py
    style_words: tuple[str, ...]  # a caption with one of these words is in the style
    seeds: Positive
    num_bootstrap: Positive
    num_workers: Positive
    output: str

    @model_validator(mode="after")
    def _check_train_overrides(self) -> "StudyCorporaConfig":
        for setting in shlex.split(self.train_overrides):
            if setting.partition("=")[0] in ("task", "seed", "output", "resume", "runs", "data", "data.path"):
                raise ValueError(f"train_overrides={setting}: the study sets that itself; leave it out")
        return self


class SweepNoiseConfig(StrictModel):
    """Settings of `sweep_noise.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    noises: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    auto: Annotated[tuple[AutoNoise, ...], BeforeValidator(as_tuple)]  # chosen noise to train with as well
    statistics: str | None  # of compute_statistics.py, for auto-unpaired and auto-paired alone
    seeds: Positive
    split: EvalSplit
    train_overrides: str  # of train_text_only.py, for all trainings, as typed there
    eval_overrides: str  # of eval_image.py
    num_bootstrap: Positive
    num_workers: Positive
    output: str

    @model_validator(mode="after")
    def _check_statistics(self) -> "SweepNoiseConfig":
        modes = [mode for mode in self.auto if mode != "auto"]
        if modes and self.statistics is None:
            raise ValueError(
                f"auto={','.join(modes)} is chosen by compute_statistics.py; run it, and give its folder as statistics="
            )
        if self.statistics is not None and not modes:
            raise ValueError(
                f"statistics={self.statistics} is for auto=auto-unpaired and auto=auto-paired; statistics that adapters "
                "need go into train_overrides="
            )
        return self

    @model_validator(mode="after")
    def _check_train_overrides(self) -> "SweepNoiseConfig":
        own_settings = (
            "noise",
            "noise_rule",
            "noise_variance",
            "noise_cosine",
            "seed",
            "task",
            "output",
            "resume",
            "runs",
        )
        for setting in shlex.split(self.train_overrides):
            if setting.partition("=")[0] in own_settings:
                raise ValueError(
                    f"train_overrides={setting}: the sweep sets {', '.join(own_settings)} itself; leave it out"
                )
        return self


class ExportGrammarConfig(StrictModel):
    """Settings of `export_grammar.py`."""

    num_train: Positive  # scenes of split train
    seed: Natural
    min_count: Positive  # captions that a frame must occur in
    min_expected: Positive  # times that values would stand together by chance, to be kept apart if they never do
    output: str


class ScoreByWordTypeConfig(StrictModel):
    """Settings of `score_by_word_type.py`."""

    evaluations: Annotated[tuple[Given, ...], Field(min_length=1), BeforeValidator(as_tuple)]
    num_bootstrap: Positive
