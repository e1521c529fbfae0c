"""Trainings of captioners and their controls, each with its tests, as the commands that a user would type.

A step is one command: the training, a test of it, or a recipe on its encoder. A finished step is not repeated.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from close_transfer.cli import COMMANDS, compose_config
from close_transfer.core.atomic_files import read_fields, read_json, write_json
from close_transfer.core.errors import UserError
from close_transfer.core.schema import StrictModel
from studies.captioners.pretraining import PRETRAINING
from studies.config import StudyCaptionersConfig
from studies.jobs import run_in_workers

TRAINING, COMPOSITION, CAPTIONS = "training", "composition", "captions"
PROBES, ZERO_SHOT = "probes", "zero-shot"
_SETTINGS_FILE = "asked.json"  # marks a finished step


@dataclass(frozen=True)
class Step:
    """Command of the study.

    Attributes:
        name: name for users, such as "composition"; unique within a job.
        script: name of the command's script.
        settings: settings of the command, without `resume`.
        folder: output folder of the command.
        study: folder of the study, which holds it.
        needed: settings of the steps that it uses, which decide its results too.
    """

    name: str
    script: str
    settings: tuple[str, ...]
    folder: Path
    study: Path
    needed: tuple[str, ...] = ()

    def _collect_settings(self) -> dict[str, list[str] | str]:
        return {"command": self.script, "settings": sorted(self.settings), "needed": sorted(self.needed)}

    @property
    def is_test(self) -> bool:
        """Return True if the step tests a model, False if it trains one."""
        return self.script != "train_on_images" and self.script not in PRETRAINING

    @property
    def is_finished(self) -> bool:
        """Return True if the step is finished.

        Raises:
            UserError: if the folder holds results of other settings.
        """
        path = self.folder / _SETTINGS_FILE
        if not path.is_file():
            return False
        place = self.folder.relative_to(self.study).as_posix()
        old, new = (_make_movable(settings, place) for settings in (read_json(path), self._collect_settings()))
        if old != new:
            differing = sorted(old ^ new)
            raise UserError(
                f"{self.folder} holds results of other settings ({', '.join(differing)}). Give the settings of that study "
                "again, another output=, or remove that folder"
            )
        return True

    def compose(self, *more: str) -> StrictModel:
        """Return the checked settings of the command.

        Raises:
            UserError: if they cannot be used.
        """
        command = COMMANDS[_find_command(self.script)]
        return compose_config(command.config_name, command.load_schema(), [*self.settings, *more])

    def run(self) -> None:
        """Run the command, and mark the step as finished.

        Raises:
            UserError: for errors that the user can correct, and if a training was interrupted.
        """
        command = COMMANDS[_find_command(self.script)]
        more = self._choose_resume()
        # `main` gets no typed arguments: its check of them refuses settings without an effect, and systems share settings.
        if more is not None and command.load_main()(self.compose(*more), **command.list_scripts()[self.script]):
            raise UserError("was stopped early. Run the same command to resume it")
        self.mark_finished()

    def mark_finished(self) -> None:
        """Write the file that marks the step as finished, with the settings that decided its results."""
        write_json(self.folder / _SETTINGS_FILE, self._collect_settings())

    def _choose_resume(self) -> list[str] | None:
        """Return the settings that resume the command's earlier work; None if it is finished and only not marked."""
        if self.script == "train_on_images":
            return ["resume=auto"]
        if self.script not in PRETRAINING or not self.folder.is_dir():
            return []
        summary = self.folder / PRETRAINING[self.script].summary
        if summary.is_file() and not read_fields(summary, {"stopped_early": bool})["stopped_early"]:
            return None
        return ["resume=true"]


def _make_movable(settings: dict[str, list[str] | str], place: str) -> set[str]:
    """Return recorded settings with paths relative to the study's folder, so that the study may be moved.

    Args:
        settings: settings as `Step` records them.
        place: folder of the step below the study's folder.
    """
    texts = [text for value in settings.values() for text in ([value] if isinstance(value, str) else value)]
    (output,) = (text for text in settings["settings"] if text.startswith("output="))
    study = output.removeprefix("output=").removesuffix(place)
    return {re.sub(rf"(?<=[=:]){re.escape(study)}", "", text) for text in texts}


def _find_command(script: str) -> str:
    return next(name for name, command in COMMANDS.items() if script in command.list_scripts())


@dataclass(frozen=True)
class Job:
    """Training with its tests, one after another.

    Attributes:
        system: name of the system.
        seed: seed of the training.
        steps: the training, then the steps that use it.
    """

    system: str
    seed: int
    steps: tuple[Step, ...]

    @property
    def folder(self) -> Path:
        """Return the folder of the trained model."""
        return self.steps[0].folder

    def select_training(self) -> "Job":
        """Return the job without its tests."""
        return Job(self.system, self.seed, self.steps[:1])

    def find_missing_steps(self) -> list[Step]:
        """Return the steps that are not finished, in order.

        Raises:
            UserError: if the folder holds results of other settings.
        """
        return [step for step in self.steps if not step.is_finished]


def _list_recipe_steps(
    config: StudyCaptionersConfig, folder: Path, encoder: tuple[str, ...], needed: tuple[str, ...], seed: int
) -> list[Step]:
    steps, study = [], Path(config.output)
    for name, recipe in config.recipes.items():
        run = folder / f"recipe-{name}"
        training = (*encoder, *shlex.split(config.recipe_overrides), *shlex.split(recipe), f"seed={seed}")
        training = (*training, f"output={run}", f"runs={folder}", "task=captioning")
        steps.append(Step(f"training of {name}", "train_on_images", training, run, study, needed))
        test = (f"run={run}", f"output={run / CAPTIONS}", "leakage=false", *shlex.split(config.caption_overrides))
        steps.append(Step(name, "eval_image", test, run / CAPTIONS, study, (*needed, *training)))
    return steps


def build_job(config: StudyCaptionersConfig, name: str, seed: int) -> Job:
    """Return the training of a system with a seed, and its tests: those that its kind of model can take."""
    system = config.systems[name]
    pretraining = PRETRAINING[system.command]
    study = Path(config.output)
    folder = study / name / f"seed-{seed}"
    training = (*shlex.split(config.train_overrides), *shlex.split(system.settings), f"seed={seed}", f"output={folder}")
    steps = [Step(TRAINING, system.command, training, folder, study)]

    def add(step: str, script: str, tested: tuple[str, ...], overrides: str) -> None:
        settings = (*tested, f"output={folder / step}", *shlex.split(overrides))
        steps.append(Step(step, script, settings, folder / step, study, training))

    scorer, encoder = pretraining.name_scorer(folder), pretraining.name_encoder(folder)
    if scorer:
        add(COMPOSITION, "eval_composition", scorer, config.composition_overrides)
    if pretraining.is_captioner:
        add(CAPTIONS, "eval_image", (f"run={folder}", "leakage=false"), config.caption_overrides)
    add(PROBES, "probe_encoder", (*encoder, "probes=[few_shot,linear,attention_pool]"), config.probe_overrides)
    if scorer:
        add(ZERO_SHOT, "probe_encoder", (*scorer, "probes=[zero_shot]"), config.probe_overrides)
    if config.with_recipes:
        steps += _list_recipe_steps(config, folder, encoder, training, seed)
    return Job(name, seed, tuple(steps))


def list_jobs(config: StudyCaptionersConfig) -> list[Job]:
    """Return all jobs in the order of the work.

    The first seed of the systems with several seeds comes first, then the systems with fewer, then the other seeds, so
    that an interrupted study has each comparison at least once.
    """
    seeds = {name: min(system.seeds or config.seeds, config.seeds) for name, system in config.systems.items()}
    full = [name for name in seeds if seeds[name] == config.seeds]
    rounds = [(0, full), (0, [name for name in seeds if name not in full])]
    rounds += [(seed, [name for name in seeds if seed < seeds[name]]) for seed in range(1, config.seeds)]
    return [build_job(config, name, seed) for seed, names in rounds for name in names]


def check_settings(jobs: Sequence[Job]) -> None:
    """Check the settings of the trainings and of each kind of test once, so that mistakes show before hours of training.

    Raises:
        UserError: with the system's name, if its settings cannot be used.
    """
    checked: set[tuple[str, str]] = set()
    for job in jobs:
        for step in job.steps:
            key = (step.name, job.system if step.name == TRAINING else "")
            if key in checked:
                continue
            checked.add(key)
            try:
                step.compose()
            except UserError as error:
                raise UserError(f"systems.{job.system}, {step.name}: {error}") from error


def _run_quietly(job: Job) -> str | None:
    """Run the missing steps of a job; return the message of an error that the user can correct, which ends the job."""
    torch.set_num_threads(1)
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        for step in job.find_missing_steps():
            try:
                step.run()
            except UserError as error:
                return f"{job.system} seed {job.seed}, {step.name}: {error}"
    return None


def run_jobs(jobs: Sequence[Job], workers: int) -> Iterator[str | None]:
    """Run the jobs that are not finished, in order, `workers` at a time.

    Yields:
        The message of its error, or None, for each job that ended. An error ends only its own job, and all finished
        steps are kept.
    """
    waiting = [job for job in jobs if job.find_missing_steps()]
    check_settings(waiting)
    with tqdm(total=len(jobs), initial=len(jobs) - len(waiting), unit="system", desc="captioners") as bar:
        for _, message in run_in_workers(_run_quietly, ((job,) for job in waiting), workers):
            bar.update()
            yield message
