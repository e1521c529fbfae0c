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
    as_tuple,
)
from close_transfer.config.data import DataConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.core.roles import Names, Role, Writes
from close_transfer.core.schema import AboveZero, FileName, Natural, NonNegative, Positive, StrictModel
from close_transfer.tasks import get_task


def _require_task(name: str) -> str:
    try:
        return get_task(name).name
    except UserError as error:
        raise ValueError(str(error)) from None


TaskName = Annotated[str, AfterValidator(_require_task)]

# Settings of a training that `jobs.py` sets itself, so overrides may not set them.
SET_BY_JOBS = ("output", "resume", "runs")


class SystemConfig(StrictModel):
    """System of a study, an entry of `systems` and a row of its table; it gives only the settings that it needs."""

    input_modality: InputModality = "text"
    train_overrides: str = ""  # settings of train_text_only.py or train_on_images.py
    statistics_overrides: str | None = (
        None  # settings of compute_statistics.py, whose output the training uses; None: not run
    )
    eval_overrides: str = ""  # settings of eval_image.py
    run: str | None = None  # name of the system whose training this one evaluates in another way
    baseline: Literal["nearest", "zero-shot"] | None = None  # of baseline.py, instead of a training
    tasks: tuple[TaskName, ...] | None = None  # None: all tasks of the study


class RunStudyConfig(StrictModel):
    """Settings of `run_study.py`."""

    name: FileName
    tasks: Annotated[tuple[TaskName, ...], Field(min_length=1)]
    baseline: str
    systems: Annotated[dict[str, SystemConfig], Field(min_length=1)]
    cosines: bool
    costs: bool
    train_overrides: str
    task_overrides: dict[TaskName, str]
    eval_overrides: str
    seeds: Positive
    split: EvalSplit
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    num_workers: Annotated[Positive, Role.THROUGHPUT]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]

    def get_task_overrides(self, task: str) -> str:
        """Return the overrides that apply to the trainings of this task only; "" if there are none."""
        return next((settings for name, settings in self.task_overrides.items() if name == task), "")

    def has(self, name: str, task: str) -> bool:
        """Return True if a system is run on a task."""
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
                raise ValueError(f"{setting}={name}: there is no such system. Use one of {', '.join(self.systems)}")
        if not all(self.has(self.baseline, task) for task in self.tasks):
            raise ValueError(
                f"baseline={self.baseline}: this system is not run on all of the tasks {', '.join(self.tasks)}. Name one "
                "that is, or give it these tasks"
            )
        return self


class StudyFewShotConfig(StrictModel):
    """Settings of `study_few_shot.py`."""

    runs: Annotated[tuple[str, ...], Field(min_length=1), Role.LOCATION]
    data: DataConfig | None = None
    shots: Annotated[tuple[Natural, ...], Field(min_length=1)]
    num_supports: Positive
    max_examples: Positive | None
    form: str
    max_words: Positive | None
    split: EvalSplit
    seeds: Positive
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    device: Annotated[str, Role.LOCATION]


def _check_unpaired_adapters(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names if each adapter is fitted on unpaired images, because the study fits them on such images."""
    from close_transfer.models.adapters import ADAPTERS  # here, because it imports torch

    allowed = [name for name, adapter in ADAPTERS.items() if adapter.data_regime == "T1"]
    if unknown := [name for name in names if name not in allowed]:
        raise ValueError(f"{unknown[0]} is not fitted on unpaired images. Use one of {', '.join(allowed)}")
    return names


class RealSystemConfig(StrictModel):
    """System of the study on real vectors, an entry of `systems`; it gives only the settings that it needs."""

    name: Annotated[str, Role.LABEL]
    input_modality: InputModality = "text"
    noise: NonNegative | AutoNoise = "auto"
    rule: NoiseRule | None = None  # for noise=auto
    adapter: Annotated[tuple[str, ...], AfterValidator(_check_unpaired_adapters)] = ()
    text_memory: bool = False  # True: image vectors are projected on the training captions


class StudyRealVectorsConfig(StrictModel):
    """Settings of `study_real_vectors.py`."""

    pairs: str
    language_model: str | None
    noises: Annotated[tuple[NonNegative, ...], Field(min_length=1), Role.KEYED]
    systems: Annotated[tuple[RealSystemConfig, ...], Role.KEYED]
    num_pairs: Annotated[Positive, Role.KEYED]
    text_memory_temperature: Annotated[AboveZero, Role.KEYED]
    folds: Annotated[int, Field(ge=2)]
    seeds: Annotated[Positive, Role.KEYED]
    least_keyword: Annotated[Positive, Role.REPORTING]  # for the keyword probe
    most_keyword: Annotated[Positive, Role.REPORTING]
    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    num_beams: Positive
    max_target_tokens: Positive
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    num_workers: Annotated[Positive, Role.THROUGHPUT]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]


class StudyCorporaConfig(StrictModel):
    """Settings of `study_corpora.py`."""

    corpora: Annotated[
        tuple[str, ...], Field(min_length=1)
    ]  # corpus.jsonl of synthesize_captions.py, or tables with `text`
    sizes: Annotated[tuple[Positive, ...], Field(min_length=1)]
    extra_systems: tuple[str, ...]
    train_overrides: str
    eval_overrides: str
    style_words: tuple[str, ...]
    seeds: Positive
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    num_workers: Annotated[Positive, Role.THROUGHPUT]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]

    @model_validator(mode="after")
    def _check_train_overrides(self) -> "StudyCorporaConfig":
        for setting in shlex.split(self.train_overrides):
            if setting.partition("=")[0] in ("task", "seed", *SET_BY_JOBS, "data", "data.path"):
                raise ValueError(f"train_overrides={setting}: the study sets that itself. Leave it out")
        return self


class SweepNoiseConfig(StrictModel):
    """Settings of `sweep_noise.py`."""

    choices_only: ClassVar[tuple[str, ...]] = ("task",)

    task: ChosenTask
    noises: Annotated[tuple[NonNegative, ...], Field(min_length=1)]
    auto: Annotated[tuple[AutoNoise, ...], BeforeValidator(as_tuple)]
    statistics: str | None
    seeds: Positive
    split: EvalSplit
    train_overrides: str
    eval_overrides: str
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    num_workers: Annotated[Positive, Role.THROUGHPUT]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]

    @model_validator(mode="after")
    def _check_statistics(self) -> "SweepNoiseConfig":
        modes = [mode for mode in self.auto if mode != "auto"]
        if modes and self.statistics is None:
            raise ValueError(
                f"auto={','.join(modes)} is chosen by compute_statistics.py. Run it, and give its folder as statistics="
            )
        if self.statistics is not None and not modes:
            raise ValueError(
                f"statistics={self.statistics} only applies with auto=auto-unpaired and auto=auto-paired. Put statistics "
                "that adapters need into train_overrides="
            )
        return self

    @model_validator(mode="after")
    def _check_train_overrides(self) -> "SweepNoiseConfig":
        noise_settings = [name for name in TrainConfig.model_fields if name.startswith("noise")]
        own_settings = (*noise_settings, "seed", "task", *SET_BY_JOBS)
        for setting in shlex.split(self.train_overrides):
            if setting.partition("=")[0] in own_settings:
                raise ValueError(
                    f"train_overrides={setting}: the sweep sets {', '.join(own_settings)} itself. Leave it out"
                )
        return self


class PretrainingConfig(StrictModel):
    """System of the study of captioners, an entry of `systems`; it gives only the settings that it needs."""

    command: Literal["train_captioner", "train_text_tower", "train_image_encoder"] = "train_captioner"  # trains it
    settings: str = ""  # settings of that command
    seeds: Positive | None = None  # trainings, one per seed; None: as many as the study


class StudyCaptionersConfig(StrictModel):
    """Settings of `study_captioners.py`."""

    systems: Annotated[dict[FileName, PretrainingConfig], Field(min_length=1)]
    only: tuple[str, ...] | None
    train_overrides: str
    composition_overrides: str
    caption_overrides: str
    probe_overrides: str
    recipes: dict[FileName, str]
    recipe_overrides: str
    with_recipes: bool
    seeds: Positive
    train_only: Annotated[bool, Role.REPORTING]
    report_only: Annotated[bool, Role.REPORTING]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    num_workers: Annotated[Positive, Role.THROUGHPUT]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]

    @model_validator(mode="after")
    def _check_names(self) -> "StudyCaptionersConfig":
        for name in self.only or ():
            if name not in self.systems:
                raise ValueError(f"only={name}: there is no such system. Use one of {', '.join(self.systems)}")
        return self

    @model_validator(mode="after")
    def _check_overrides(self) -> "StudyCaptionersConfig":
        own = ("seed", "run", "clip", "clip.model", "probes", *SET_BY_JOBS)
        names = ("train_overrides", "composition_overrides", "caption_overrides", "probe_overrides", "recipe_overrides")
        groups: list[tuple[str, str, tuple[str, ...]]] = [(name, getattr(self, name), own) for name in names]
        groups += [(f"recipes.{name}", settings, own) for name, settings in self.recipes.items()]
        # A text tower on a frozen encoder names that encoder by clip=.
        groups += [
            (f"systems.{name}.settings", system.settings, ("seed", *SET_BY_JOBS))
            for name, system in self.systems.items()
        ]
        for name, settings, set_by_study in groups:
            for setting in shlex.split(settings):
                if setting.partition("=")[0] in set_by_study:
                    raise ValueError(f"{name}={setting}: the study sets that itself. Leave it out")
        return self


class ExportGrammarConfig(StrictModel):
    """Settings of `export_grammar.py`."""

    num_train: Positive
    seed: Natural
    min_count: Positive
    min_expected: Positive
    output: Annotated[str, Role.LOCATION, Writes.FILE]


class ScoreByWordTypeConfig(StrictModel):
    """Settings of `score_by_word_type.py`."""

    evaluations: Annotated[tuple[Given, ...], Field(min_length=1), BeforeValidator(as_tuple)]
    analysis: Literal["types", "properties"]
    num_words: Positive
    wordnet: Annotated[str | None, Names.FILE]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]

    @model_validator(mode="after")
    def _require_analysis_of_nouns(self) -> "ScoreByWordTypeConfig":
        if self.wordnet is not None and self.analysis != "properties":
            raise ValueError(f"wordnet={self.wordnet} only applies to analysis=properties. Give that too")
        return self
