"""Scores of the systems of the study of captioners, from the steps that are finished."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from close_transfer.core.errors import UserError
from close_transfer.training.run_folder import RunFolder
from studies.captioners.item_scores import ItemScores, average_seeds, read_captions, read_composition, read_probes
from studies.captioners.jobs import CAPTIONS, COMPOSITION, PROBES, TRAINING, ZERO_SHOT, Job
from studies.captioners.pretraining import PRETRAINING
from studies.config import StudyCaptionersConfig
from studies.scene_scores import SceneScores

PERPLEXITY = "perplexity"
_READERS: dict[str, Callable[[Path], dict[str, ItemScores]]] = {
    COMPOSITION: read_composition,
    CAPTIONS: read_captions,
    PROBES: read_probes,
    ZERO_SHOT: read_probes,
}


@dataclass
class SystemScores:
    """Scores of one system.

    Attributes:
        is_captioner: True if its validation loss is that of captions' tokens.
        num_seeds: number of its trainings, finished or not.
        curves: validation loss by step, for each seed whose training is finished.
        by_metric: scores by metric, over the seeds whose test is finished.
    """

    is_captioner: bool
    num_seeds: int
    curves: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    by_metric: dict[str, SceneScores] = field(default_factory=dict)

    @property
    def perplexities(self) -> list[float]:
        """Return the perplexity of the validation captions at the end of the training, for each seed."""
        return [math.exp(curve[-1][1]) for curve in self.curves.values() if self.is_captioner and curve]

    @property
    def perplexity(self) -> float | None:
        """Return the mean perplexity of the seeds; None if there is none."""
        return float(np.mean(self.perplexities)) if self.perplexities else None


def read_curve(folder: Path) -> list[tuple[int, float]]:
    """Return (step, loss) of each validation of a training, in order."""
    entries = [entry for entry in RunFolder(folder).read_log() if "validation_loss" in entry]
    return sorted({entry["step"]: entry["validation_loss"] for entry in entries}.items())


def _read_step(name: str, folder: Path) -> dict[str, ItemScores]:
    """Return the scores of a finished test; a recipe's captions have its name before the metric."""
    if name in _READERS:
        return _READERS[name](folder)
    return {f"{name}/{metric}": scores for metric, scores in read_captions(folder).items()}


def _average_tests(jobs: Sequence[Job]) -> dict[str, SceneScores]:
    collected: dict[str, list[tuple[Path, ItemScores]]] = {}
    for job in jobs:
        for step in job.steps:
            if step.is_test and step.is_finished:
                for metric, scores in _read_step(step.name, step.folder).items():
                    collected.setdefault(metric, []).append((step.folder, scores))
    return {
        metric: average_seeds(metric, [scores for _, scores in seeds], seeds[0][0])
        for metric, seeds in collected.items()
    }


def collect_scores(config: StudyCaptionersConfig, jobs: Sequence[Job]) -> dict[str, SystemScores]:
    """Return the scores of all systems, in their order; those without a finished training have none.

    Raises:
        UserError: if a folder holds results of other settings, a file is damaged, or systems have different examples.
    """
    systems: dict[str, SystemScores] = {}
    for name, system in config.systems.items():
        own = sorted((job for job in jobs if job.system == name), key=lambda job: job.seed)
        scores = SystemScores(PRETRAINING[system.command].is_captioner, len(own))
        scores.curves = {job.seed: read_curve(job.folder) for job in own if job.steps[0].is_finished}
        scores.by_metric = _average_tests(own)
        systems[name] = scores
    _check_same_items(systems)
    return systems


def _check_same_items(systems: Mapping[str, SystemScores]) -> None:
    """Check that differences between systems can be paired.

    Raises:
        UserError: if two systems have a metric of different items.
    """
    first: dict[str, tuple[str, SceneScores]] = {}
    for name, system in systems.items():
        for metric, scores in system.by_metric.items():
            other, expected = first.setdefault(metric, (name, scores))
            if scores.results.data_fingerprint != expected.results.data_fingerprint:
                raise UserError(
                    f"systems.{name}: its {metric} is of other examples than that of {other}, so they cannot be compared. Leave "
                    "settings of data out of the settings of single systems"
                )


def list_missing(jobs: Sequence[Job]) -> list[str]:
    """Return one line per system whose steps are not all finished."""
    missing: dict[str, list[str]] = {}
    for job in jobs:
        steps = job.find_missing_steps()
        if steps:
            names = "everything" if steps[0].name == TRAINING else ", ".join(step.name for step in steps)
            missing.setdefault(job.system, []).append(f"seed {job.seed} ({names})")
    return [f"{system}: {'; '.join(seeds)}" for system, seeds in missing.items()]
