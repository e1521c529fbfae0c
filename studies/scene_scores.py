"""Scores of one system over several seeds, summed by scene, because the bootstrap draws scenes and not questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.data.examples import get_scene_key
from close_transfer.evaluation.results import Results, read_results
from close_transfer.evaluation.score_lines import read_scores
from close_transfer.metrics.bootstrap import PairedDifference, compare_paired, score_sums
from close_transfer.tasks.loading import load_task_examples
from close_transfer.training.runs import read_run


@dataclass(frozen=True)
class SceneScores:
    """Scores of one system.

    Attributes:
        metric: name of the leading metric.
        by_seed: mean over examples for each seed.
        sums: scores summed over each scene's examples, mean over seeds; shape (scenes,).
        counts: number of examples of each scene, or the sum of their weights; shape (scenes,).
        results: results.json of the first seed.
    """

    metric: str
    by_seed: list[float]
    sums: Float64Array
    counts: Float64Array
    results: Results

    @classmethod
    def read(cls, folders: Sequence[Path], scene_of: Mapping[str, str]) -> "SceneScores":
        """Read evaluation folders, one per seed; `scene_of` maps example ids to scenes.

        Raises:
            UserError: if the seeds answered different examples.
        """
        scores_by_seed = [read_scores(folder) for folder in folders]
        ids = list(scores_by_seed[0][1])
        if any(scores.keys() != scores_by_seed[0][1].keys() for _, scores in scores_by_seed):
            raise UserError(f"{folders[0].parent.parent}: its seeds answered different examples. Give another output=")
        values = np.array([[scores[example_id] for example_id in ids] for _, scores in scores_by_seed])
        scenes = [scene_of[example_id] for example_id in ids]
        return cls.build(scores_by_seed[0][0], values, scenes, read_results(folders[0] / "results.json", "output"))

    @classmethod
    def build(
        cls,
        metric: str,
        values: Float64Array,
        scenes: Sequence[str],
        results: Results,
        weights: Float64Array | None = None,
    ) -> "SceneScores":
        """Sum scores by scene.

        Args:
            metric: name of the metric.
            values: score of each example for each seed, shape (seeds, examples).
            scenes: scene of each example.
            results: results.json of the first seed.
            weights: weight of each example in the mean, shape (examples,); None for 1.
        """
        _, scene = np.unique(scenes, return_inverse=True)
        weights = np.ones(len(scenes)) if weights is None else weights
        return cls(
            metric,
            (values @ weights / weights.sum()).tolist(),
            np.bincount(scene, weights=values.mean(axis=0) * weights).astype(np.float64),
            np.bincount(scene, weights=weights).astype(np.float64),
            results,
        )

    @property
    def score(self) -> float:
        """Return the mean over examples and seeds."""
        return float(self.sums.sum() / self.counts.sum())

    def _stack_sums_and_counts(self) -> Float64Array:
        return np.stack([self.sums, self.counts], axis=1)

    def compute_interval(self, num_resamples: int) -> tuple[float, float]:
        """Return the 95% bootstrap interval of the score over scenes."""
        _, intervals = score_sums(self._stack_sums_and_counts(), _compute_mean, num_resamples)
        return intervals["mean"]

    def subtract(self, other: "SceneScores", num_resamples: int) -> PairedDifference:
        """Return this score minus the other with its 95% interval; every resample draws the same scenes for both."""
        return compare_paired(
            self._stack_sums_and_counts(), other._stack_sums_and_counts(), _compute_mean, num_resamples
        )["mean"]


def _compute_mean(sums: Float64Array) -> dict[str, NDArray[np.float64]]:
    return {"mean": sums[:, 0] / sums[:, 1]}


def map_examples_to_scenes(run: Path, split: str) -> dict[str, str]:
    """Return the scene of each example of the run's data, by example id."""
    config, _ = read_run(run)
    examples = load_task_examples(config.task.name, config.data, split).examples
    return {example.id: get_scene_key(example) for example in examples}
