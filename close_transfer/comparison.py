"""Sets results side by side: seeds folded, one table for what was asked of the same examples, two runs paired.

Takes the results.json and scores.jsonl of evaluations and of scored predictions alike.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from close_transfer.errors import UserError
from close_transfer.metrics.bootstrap import PairedDifference, paired_mean_difference
from close_transfer.results import Results, read_results, read_scores

WORLD = "picturebook"

# Settings that do not change what a system is.
_PLACES = {"output", "resume", "runs", "run", "device", "store", "compare", "num_bootstrap", "batch_size"}
_SCORED = {"name", "regime", "seed", "data_name", "images", "clip", "references", "questions"}

_MOST_TOLD = 4

# Task, data, split, scene, fingerprint and number of the examples.
_Key = tuple[str, str, str | None, str | None, str, int]


@dataclass(frozen=True)
class Value:
    """A metric with its 95% interval; None where there is none."""

    value: float
    low: float | None
    high: float | None


@dataclass
class Row:
    """One system in a table.

    Attributes:
        name: unique within its regime and table.
        regime: T0 to T4, as results.json has it; None if not stated.
        seeds: of the results folded here; None where a result states none.
        values: by metric. Several seeds: their mean with its t-interval. One: its bootstrap interval.
        settings: all that makes the system what it is, by dotted key.
    """

    name: str
    regime: str | None
    seeds: list[int | None]
    values: dict[str, Value]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Table:
    """Systems asked the same of the same examples.

    Attributes:
        rows: by regime, within it the best first.
        leading: the metric they are ordered by.
    """

    task: str
    data: str
    split: str | None
    scene: str | None
    fingerprint: str
    num_examples: int
    rows: list[Row]
    leading: str

    @property
    def is_world(self) -> bool:
        """Whether the examples are Picturebook's, which say nothing about published benchmarks."""
        return self.data == WORLD


@dataclass(frozen=True)
class Pairing:
    """Two systems on the same examples, by a paired bootstrap.

    Attributes:
        same_references: whether their references are known to be the same too.
    """

    names: tuple[str, str]
    folders: tuple[str, str]
    regimes: tuple[str | None, str | None]
    data: str
    metric: str
    num_examples: int
    same_references: bool
    difference: PairedDifference

    @property
    def is_world(self) -> bool:
        """Whether the examples are Picturebook's."""
        return self.data == WORLD


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, one in value.items() for k, v in _flat(one, f"{prefix}.{key}" if prefix else key).items()}
    return {prefix: value}


def _settings(results: Results) -> dict[str, Any]:
    """All settings that make the system what it is, by dotted key; not the seed."""
    train, evaluation, score = (results.config.get(key) or {} for key in ("train", "eval", "score"))
    kept = {key: value for key, value in train.items() if key not in _PLACES | {"seed"}}
    kept |= {key: value for key, value in evaluation.items() if key in ("checkpoint", "num_beams")}
    # Seeds of someone else's system are files with the same name= and a seed= each.
    files = {"predictions"} if results.seed is not None else set()
    kept |= {key: value for key, value in score.items() if key not in _PLACES | _SCORED | files}
    return _flat(kept) if kept else {}


def t_quantile(freedom: int) -> float:
    """The 97.5% point of Student's t for that many degrees of freedom.

    By bisection of its distribution function for whole numbers (Abramowitz and Stegun, 26.7.3 and 26.7.4).
    """

    def within(t: float) -> float:
        """Probability of lying between -t and t."""
        angle = math.atan(t / math.sqrt(freedom))
        cosine = math.cos(angle)
        term, total = (cosine, 0.0) if freedom % 2 else (1.0, 0.0)
        for k in range(1 + freedom % 2, freedom, 2):
            total += term
            term *= cosine * cosine * k / (k + 1)
        if freedom % 2:
            return 2 / math.pi * (angle + math.sin(angle) * total)
        return math.sin(angle) * total

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < 0.95 else (low, middle)
    return (low + high) / 2


def _value(metric: str, folded: Sequence[Results]) -> Value:
    values = [one.metrics[metric] for one in folded]
    if len(values) == 1:
        low, high = folded[0].intervals.get(metric, (None, None))
        return Value(values[0], low, high)
    reach = t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Value(fmean(values), fmean(values) - reach, fmean(values) + reach)


def _row(folded: Sequence[Results]) -> Row:
    shared = [name for name in folded[0].metrics if all(name in one.metrics for one in folded)]
    first = folded[0]
    return Row(
        first.name,
        first.regime,
        sorted((one.seed for one in folded), key=lambda seed: -1 if seed is None else seed),
        {name: _value(name, folded) for name in shared},
        _settings(first),
    )


def _tell_apart(rows: Sequence[Row]) -> None:
    """Adds to equal names of one table the settings that differ."""
    by_name: dict[tuple[str | None, str], list[Row]] = {}
    for row in rows:
        by_name.setdefault((row.regime, row.name), []).append(row)
    for alike in by_name.values():
        if len(alike) == 1:
            continue
        keys = dict.fromkeys(key for row in alike for key in row.settings)
        differing = [key for key in keys if len({json.dumps(row.settings.get(key)) for row in alike}) > 1]
        for row in alike:
            told = [f"{key}={row.settings[key]}" for key in differing if key in row.settings]
            row.name += f" ({', '.join(told[:_MOST_TOLD])}{', ...' if len(told) > _MOST_TOLD else ''})" if told else ""


def _leading(rows: Iterable[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row.values)
    return next((name for name in ("CIDEr", "accuracy") if name in names), next(iter(names)))


def _table(key: _Key, rows: list[Row]) -> Table:
    leading = _leading(rows)
    _tell_apart(rows)
    rows.sort(key=lambda row: (row.regime or "~", -row.values[leading].value if leading in row.values else math.inf))
    return Table(*key, rows, leading)


def fold(files: Mapping[Path, Results]) -> tuple[list[Table], list[str]]:
    """Tables of all results, and a sentence for each file that is in none.

    Results of one system that differ in their seed only are one row. A table holds one task, data, split
    and scene, and the same examples. Of two results with the same seed the last by name counts.
    """
    systems: dict[tuple[_Key, str | None, str, str, str], dict[int | None, tuple[Path, Results]]] = {}
    notes = []
    for path, one in files.items():
        table: _Key = (one.task, one.data, one.split, one.scene, one.examples, one.num_examples)
        # A result without a seed is a row of its own.
        own = str(path) if one.seed is None else ""
        settings = json.dumps(_settings(one), sort_keys=True)
        seeds = systems.setdefault((table, one.regime, one.name, settings, own), {})
        if one.seed in seeds:
            notes.append(f"{seeds[one.seed][0]} is left out: {path} is the same system with the same seed {one.seed}")
        seeds[one.seed] = (path, one)
    tables: dict[_Key, list[Row]] = {}
    for key, seeds in systems.items():
        tables.setdefault(key[0], []).append(_row([one for _, one in seeds.values()]))
    ordered = sorted(tables, key=lambda key: (key[1] == WORLD, *(str(part or "") for part in key)))
    return [_table(key, tables[key]) for key in ordered], notes


def pair(folders: Sequence[str], num_resamples: int) -> Pairing:
    """The first of two evaluations minus the second, example by example, in their leading metric.

    Raises:
        UserError: if their scores are not there, or are not of the same task, data and examples.
    """
    first, second = (Path(name).parent if Path(name).name == "results.json" else Path(name) for name in folders)
    a, b = (read_results(folder / "results.json", "compare") for folder in (first, second))
    if (a.task, a.data) != (b.task, b.data):
        raise UserError(
            f"compare={first},{second}: {a.task} on {a.data} cannot be paired with {b.task} on {b.data}; give two evaluations of the same"
        )
    (metric, scores_a), (metric_b, scores_b) = read_scores(first), read_scores(second)
    only_a, only_b = scores_a.keys() - scores_b.keys(), scores_b.keys() - scores_a.keys()
    if only_a or only_b or metric != metric_b:
        raise UserError(
            f"compare={first},{second}: {len(only_a):,} examples are in the first only and {len(only_b):,} in the second only, "
            f"scored in {metric} and {metric_b}; a paired bootstrap needs the same examples and metric"
        )
    values_a, values_b = (np.array([scores[name] for name in scores_a]) for scores in (scores_a, scores_b))
    difference = paired_mean_difference(values_a, values_b, num_resamples)
    return Pairing(
        names=(a.name, b.name),
        folders=(str(first), str(second)),
        regimes=(a.regime, b.regime),
        data=a.data,
        metric=metric,
        num_examples=len(scores_a),
        same_references=a.examples == b.examples,
        difference=difference,
    )
