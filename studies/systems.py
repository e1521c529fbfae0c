"""Comparison of systems over tasks and seeds, each with its paired difference from a baseline.

A system consists of settings that a user would type: of `compute_statistics.py`, of training and of the test. All
systems of a task answer the same examples, so CIDEr's document frequencies are the same for all of them.
"""

import contextlib
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch

from close_transfer.cli import compose_config
from close_transfer.config.baseline import BaselineConfig
from close_transfer.config.compute_statistics import ComputeStatisticsConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.atomic_files import fingerprint, write_json
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.pages import write_page
from close_transfer.data.examples import group_by_scene
from close_transfer.encoders.build import build_encoder
from close_transfer.inference.loading import load_model
from close_transfer.modality_gap.vectors import encode_groups
from close_transfer.pipelines.baseline import evaluate_baseline
from close_transfer.pipelines.compute_statistics import compute_statistics
from close_transfer.tasks.loading import load_task_examples
from close_transfer.training.run_facts import read_facts
from close_transfer.training.run_folder import RunFolder, TrainingState, read_state
from close_transfer.training.runs import read_run
from studies.config import RunStudyConfig, SystemConfig
from studies.jobs import Job, run_jobs
from studies.scene_scores import SceneScores, map_examples_to_scenes
from studies.systems_table import format_markdown


def _make_slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")  # never . or .., which are other folders


def _get_run_folder(config: RunStudyConfig, task: str, name: str, seed: int) -> Path:
    """Return the folder of a training; systems that differ only in their test share it."""
    system = config.systems[name]
    return Path(config.output) / task / _make_slug(system.run or name) / f"seed-{seed}"


def _get_statistics_folder(config: RunStudyConfig, task: str, system: SystemConfig) -> Path:
    settings = [str(system.statistics_overrides), *_select_encoder_and_data(shlex.split(config.train_overrides))]
    return Path(config.output) / task / f"statistics-{fingerprint(settings)[:8]}"


def _fit_statistics(config: RunStudyConfig, task: str) -> None:
    """Compute the missing statistics of all systems that need them."""
    shared = _select_encoder_and_data(shlex.split(config.train_overrides))
    for system in config.systems.values():
        folder = _get_statistics_folder(config, task, system)
        if system.statistics_overrides is not None and not (folder / "statistics.json").is_file():
            settings = [f"task={task}", f"output={folder}", *shared, *shlex.split(system.statistics_overrides)]
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):  # no progress bars
                compute_statistics(compose_config("compute_statistics", ComputeStatisticsConfig, settings))


def _select_encoder_and_data(settings: list[str]) -> list[str]:
    return [setting for setting in settings if setting.startswith(("data", "clip", "device", "embedding_cache"))]


def _build_job(config: RunStudyConfig, task: str, name: str, seed: int) -> Job:
    system = config.systems[name]
    owner = config.systems[system.run or name]
    settings = [
        f"task={task}",
        f"seed={seed}",
        *shlex.split(config.train_overrides),
        *shlex.split(config.get_task_overrides(task)),
    ]
    settings += shlex.split(owner.train_overrides)
    if owner.statistics_overrides is not None:
        settings.append(f"statistics={_get_statistics_folder(config, task, owner)}")
    test = (f"split={config.split}", *shlex.split(config.eval_overrides), *shlex.split(system.eval_overrides))
    return Job(
        _get_run_folder(config, task, name, seed),
        owner.input_modality,
        tuple(settings),
        {f"test-{_make_slug(name)}": test},
    )


def list_jobs(config: RunStudyConfig) -> list[Job]:
    """Return trainings with their tests; one seed of all systems and tasks comes before the next seed."""
    job_by_folder: dict[Path, Job] = {}
    for seed in range(config.seeds):
        for task in config.tasks:
            for name in config.systems:
                if not config.has(name, task) or config.systems[name].baseline:
                    continue
                job = _build_job(config, task, name, seed)
                if job.folder in job_by_folder:
                    job = Job(
                        job.folder, job.input_modality, job.settings, {**job_by_folder[job.folder].tests, **job.tests}
                    )
                job_by_folder[job.folder] = job
    return list(job_by_folder.values())


def _get_baseline_folder(config: RunStudyConfig, task: str, name: str) -> Path:
    return Path(config.output) / task / _make_slug(name)


def compose_baseline_settings(config: RunStudyConfig) -> list[str]:
    """Compose a baseline's shared settings: it is tested on the tests' data, and uses the texts of training's data."""
    shared = _select_encoder_and_data(shlex.split(config.train_overrides))
    test_settings = [setting for setting in shlex.split(config.eval_overrides) if setting.startswith("data")]
    if not test_settings:
        return shared
    training_settings = [
        re.sub(r"^data=", "data@training=", re.sub(r"^data\.", "training.", setting)) for setting in shared
    ]
    names_data = any(setting.startswith("data=") for setting in shared)
    return [*training_settings, *([] if names_data else ["data@training=picturebook"]), *test_settings]


def _score_baselines(config: RunStudyConfig) -> None:
    """Score the baselines that have no results yet.

    Raises:
        UserError: with the system's name, if a baseline cannot be computed with this encoder or these data.
    """
    shared = compose_baseline_settings(config)
    for name, system in config.systems.items():
        for task in config.tasks:
            folder = _get_baseline_folder(config, task, name)
            if system.baseline is None or not config.has(name, task) or (folder / "results.json").is_file():
                continue
            settings = [
                f"task={task}",
                f"baseline={system.baseline}",
                f"output={folder}",
                f"split={config.split}",
                *shared,
            ]
            try:
                evaluate_baseline(
                    compose_config("baseline", BaselineConfig, [*settings, *shlex.split(system.eval_overrides)])
                )
            except UserError as error:
                raise UserError(f"systems.{name}: {error}. Or leave this system out with '~systems.{name}'") from error


def _list_test_folders(config: RunStudyConfig, task: str, name: str) -> list[Path]:
    """Return the evaluation folders of a system: one per seed, or a single one for a baseline, which has no seed."""
    if config.systems[name].baseline:
        return [_get_baseline_folder(config, task, name)]
    return [_get_run_folder(config, task, name, seed) / f"test-{_make_slug(name)}" for seed in range(config.seeds)]


def _measure_costs(run: Path) -> dict[str, float]:
    """Return the number of parameters that a run trained, and its training time in minutes."""
    state = read_state(RunFolder(run).find_checkpoint("last"), TrainingState)
    return {"trained_parameters": read_facts(run)["num_trained_parameters"], "minutes": state.seconds / 60}


@torch.inference_mode()
def measure_cosine_to_images(run: Path, split: str) -> float:
    """Return the mean cosine of a scene's texts with its image after the run's adapters, without noise, over a split.

    This is the column "image-caption cosine" of CLOSE's table on shifts (arXiv 2211.09778).
    """
    config, _ = read_run(run)
    model, _ = load_model(run, "last", "cpu")
    encoder = build_encoder(config.clip, config.data, "cpu", texts_needed=True)
    scenes = group_by_scene(load_task_examples(config.task.name, config.data, split).examples)
    vectors = encode_groups(encoder, scenes, config.embedding_cache, with_images=True)
    assert vectors.images is not None
    texts = model.adapter(torch.from_numpy(vectors.texts).float(), "text")
    images = model.adapter(torch.from_numpy(vectors.images).float(), "image")
    return float((texts * images[torch.from_numpy(vectors.scene_of_text)]).sum(dim=-1).mean())


def _build_row(scores: SceneScores, baseline: SceneScores, num_bootstrap: int) -> dict[str, Any]:
    difference = scores.subtract(baseline, num_bootstrap)
    return {
        "metric": scores.metric,
        "score": scores.score,
        "interval": list(scores.compute_interval(num_bootstrap)),
        "by_seed": scores.by_seed,
        "against_baseline": [difference.difference, difference.low, difference.high],
        "noise": scores.results.noise_std,
        "data_regime": scores.results.data_regime,
    }


def build_table(config: RunStudyConfig) -> dict[str, dict[str, dict[str, Any]]]:
    """Return score, interval, seeds and difference from the baseline by system and task, for a finished study."""
    table: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in config.systems}
    for task in config.tasks:
        scene_of = map_examples_to_scenes(_get_run_folder(config, task, config.baseline, 0), config.split)
        scores = {
            name: SceneScores.read(_list_test_folders(config, task, name), scene_of)
            for name in config.systems
            if config.has(name, task)
        }
        for name, system_scores in scores.items():
            table[name][task] = _build_row(system_scores, scores[config.baseline], config.num_bootstrap)
            if config.systems[name].baseline:
                continue
            if config.cosines:
                table[name][task]["cosine"] = measure_cosine_to_images(
                    _get_run_folder(config, task, name, 0), config.split
                )
            if config.costs:
                table[name][task] |= _measure_costs(_get_run_folder(config, task, name, 0))
    return table


def _check_settings(config: RunStudyConfig) -> None:
    """Check the settings of all systems, so that mistakes show before hours of training.

    Raises:
        UserError: with the system's name, if its settings cannot be used.
    """
    for name, system in config.systems.items():
        for task in config.tasks:
            if not config.has(name, task) or system.baseline:
                continue
            job = _build_job(config, task, name, 0)
            try:
                compose_config("train", TrainConfig, [*job.settings, "output=unused"])
                for test in job.tests.values():
                    compose_config("evaluate", EvaluateConfig, [f"task={task}", *test])
                if system.statistics_overrides is not None:
                    compose_config(
                        "compute_statistics",
                        ComputeStatisticsConfig,
                        [f"task={task}", *shlex.split(system.statistics_overrides)],
                    )
            except UserError as error:
                raise UserError(f"systems.{name}: {error}") from error


def run_study(config: RunStudyConfig) -> str:
    """Run the missing statistics, trainings and tests, write study.json and study.md, and return the table.

    Raises:
        UserError: with the message of the step that failed.
    """
    _check_settings(config)
    for task in config.tasks:
        _fit_statistics(config, task)
    _score_baselines(config)  # first, because they take minutes and trainings hours
    run_jobs(list_jobs(config), config.num_workers, config.name)
    table = build_table(config)
    text = format_markdown(config, table)
    folder = Path(config.output)
    write_json(folder / "study.json", {"config": config.model_dump(mode="json"), "systems": table})
    write_page(folder / "study.md", text + "\n")
    seed_ranges = [
        value for row in table.values() for result in row.values() for value in [float(np.ptp(result["by_seed"]))]
    ]
    return f"{text}\n\n{config.seeds} seeds; scores of one system's seeds differ by at most {max(seed_ranges):.1f}; written to {folder}"


def main(config: RunStudyConfig) -> None:
    """Run the study, and print its table."""
    show(run_study(config))
