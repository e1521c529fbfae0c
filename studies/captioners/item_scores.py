"""Scores of the single items of the study's tests, read from the files that the tests leave."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.core.readers.records import read_lines
from close_transfer.evaluation.composition import TWINS, score_choice, score_twins
from close_transfer.evaluation.results import read_results
from close_transfer.evaluation.score_lines import read_scores
from close_transfer.inference.caption_scorers import LikelihoodScorer, SimilarityScorer
from studies.scene_scores import SceneScores

ALL_TARGETS = "all targets"
# One column for both ways of zero-shot classification: a captioner's by likelihood, a CLIP's by similarity.
_COLUMNS = {"zero_shot_likelihood": "zero_shot"}


@dataclass(frozen=True)
class ItemScores:
    """Scores of one metric.

    Attributes:
        ids: ids of the items, unique.
        scenes: scene of each item, because the bootstrap draws scenes.
        scores: scores in percent or times 100, shape (items,).
        weights: weight of each item in the mean, shape (items,).
    """

    ids: Sequence[str]
    scenes: Sequence[str]
    scores: Float64Array
    weights: Float64Array

    @classmethod
    def build(cls, rows: Iterable[tuple[str, str, float]]) -> "ItemScores":
        """Build them from (id, scene, score) of each item, with equal weights."""
        ids, scenes, scores = zip(*rows, strict=True)
        return cls(ids, scenes, np.asarray(scores, dtype=np.float64), np.ones(len(ids)))


def _read_records(path: Path) -> list[dict]:
    return [record for _, record in read_lines(path, "output")]


def read_composition(folder: Path) -> dict[str, ItemScores]:
    """Return the scores of a test of composition, by the names of results.json."""
    is_likelihood = read_results(folder / "results.json", "output").run is not None
    tolerance = (LikelihoodScorer if is_likelihood else SimilarityScorer).tolerance
    rows: dict[str, list[tuple[str, str, float]]] = {}
    for record in _read_records(folder / "predictions.jsonl"):
        item_id, scores = record["id"], record["scores"]
        if isinstance(scores[0], list):
            twins = score_twins(np.asarray(scores), tolerance)
            named = {TWINS: twins.pop("accuracy"), **twins}
        else:
            named = {f"accuracy/{item_id.rpartition('-')[0]}": score_choice(scores, tolerance)}
        for name, score in named.items():
            rows.setdefault(name, []).append((item_id, item_id, score))
    return {name: ItemScores.build(items) for name, items in rows.items()}


def read_captions(folder: Path) -> dict[str, ItemScores]:
    """Return the leading metric of a test of captions, CIDEr, which has one item per image."""
    metric, scores = read_scores(folder)
    return {metric: ItemScores.build((item_id, item_id, score) for item_id, score in scores.items())}


def read_probes(folder: Path) -> dict[str, ItemScores]:
    """Return the accuracies of an encoder's probes, as <target>/<probe>, and their mean over targets.

    An image is one scene for all targets. An item counts as much as others of its target, and each target the same.
    """
    rows: dict[str, dict[str, list[tuple[str, str, float]]]] = {}
    for record in _read_records(folder / "predictions.jsonl"):
        item_id, target, right = record["id"], record["target"], record["class"]
        for probe in record.keys() - {"id", "target", "class"}:
            score = 100 * float(np.mean([chosen == right for chosen in record[probe]]))
            rows.setdefault(_COLUMNS.get(probe, probe), {}).setdefault(target, []).append(
                (f"{target}/{item_id}", item_id, score)
            )
    metrics: dict[str, ItemScores] = {}
    for probe, by_target in rows.items():
        metrics |= {f"{target}/{probe}": ItemScores.build(items) for target, items in by_target.items()}
        everything = ItemScores.build(item for items in by_target.values() for item in items)
        weights = np.asarray([1 / len(items) for items in by_target.values() for _ in items])
        metrics[f"{ALL_TARGETS}/{probe}"] = ItemScores(everything.ids, everything.scenes, everything.scores, weights)
    return metrics


def average_seeds(metric: str, by_seed: Sequence[ItemScores], folder: Path) -> SceneScores:
    """Return the scores of several seeds, summed by scene.

    Args:
        metric: name of the metric.
        by_seed: scores of the same items by each seed.
        folder: folder of the first seed's test.

    Raises:
        UserError: if the seeds have different items.
    """
    first = by_seed[0]
    if any(Counter(scores.ids) != Counter(first.ids) for scores in by_seed):
        raise UserError(f"{folder}: other seeds of the system have other items. Give another output=")
    values = []
    for scores in by_seed:
        score_of = dict(zip(scores.ids, scores.scores, strict=True))
        values.append([score_of[item_id] for item_id in first.ids])
    results = read_results(folder / "results.json", "output")
    return SceneScores.build(metric, np.asarray(values), first.scenes, results, first.weights)
