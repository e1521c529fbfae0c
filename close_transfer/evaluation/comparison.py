"""Sets results side by side: seeds folded, one table for what was asked of the same examples, two runs paired.

Takes the results.json and scores.jsonl of evaluations and of scored predictions alike.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from close_transfer.core.errors import UserError
from close_transfer.evaluation.results import WORLD, Results, read_results, read_scores
from close_transfer.metrics.bootstrap import PairedDifference, compare_paired_means

_MOST_TOLD = 4

# What was asked, of what kind of scene, fingerprint and number of the examples, whether they are Picturebook's.
_Key = tuple[str, str | None, str, int, bool]


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
        data_regime: T0 to T4, as results.json has it; None if not stated.
        seeds: of the results folded here; None where a result states none.
        values: by metric. Several seeds: their mean with its t-interval. One: its bootstrap interval.
        settings: all that makes the system what it is, by dotted key.
        first: one of the results folded here.
        marks: what of Picturebook is in it, though the examples are other data.
    """

    name: str
    data_regime: str | None
    seeds: list[int | None]
    values: dict[str, Value]
    first: Results
    settings: dict[str, Any] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)


@dataclass
class ResultTable:
    """Systems asked the same of the same examples.

    Attributes:
        data, split: all names that the results have for them, where they state any.
        rows: by regime, within it the best first.
        leading: the metric they are ordered by.
        is_world: whether the examples are Picturebook's, which say nothing about published benchmarks.
    """

    task: str
    data: str
    split: str | None
    scene: str | None
    fingerprint: str
    num_examples: int
    rows: list[Row]
    leading: str
    is_world: bool


@dataclass(frozen=True)
class Pairing:
    """Two systems on the same examples, by a paired bootstrap.

    Attributes:
        scenes: what each was shown.
        same_references: whether their references are known to be the same too.
        is_world: whether the examples are Picturebook's.
        marks: what of Picturebook is in either, though the examples are other data.
    """

    names: tuple[str, str]
    folders: tuple[str, str]
    data_regimes: tuple[str | None, str | None]
    scenes: tuple[str | None, str | None]
    data: str
    metric: str
    num_examples: int
    same_references: bool
    difference: PairedDifference
    is_world: bool
    marks: list[str]


def compute_t_quantile(freedom: int) -> float:
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
    reach = compute_t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Value(fmean(values), fmean(values) - reach, fmean(values) + reach)


def _row(folded: Sequence[Results]) -> Row:
    shared = [name for name in folded[0].metrics if all(name in one.metrics for one in folded)]
    first = folded[0]
    return Row(
        first.name,
        first.data_regime,
        sorted((one.seed for one in folded), key=lambda seed: -1 if seed is None else seed),
        {_column(name, first): _value(name, folded) for name in shared},
        first,
        first.settings(),
    )


def _column(metric: str, results: Results) -> str:
    """The metric's name; CLIPScores of different encoders are different metrics."""
    by = results.clipscore_encoder if "CLIPScore" in metric else None
    return f"{metric} ({by})" if by else metric


def _tell_apart(rows: Sequence[Row]) -> None:
    """Adds to equal names of one table the settings that differ."""
    by_name: dict[tuple[str | None, str], list[Row]] = {}
    for row in rows:
        by_name.setdefault((row.data_regime, row.name), []).append(row)
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


def _names(found: Iterable[str | None]) -> str:
    return " / ".join(sorted({name for name in found if name is not None}))


def _table(key: _Key, rows: list[Row]) -> ResultTable:
    kind, scene, fingerprint, num_examples, is_world = key
    results = [row.first for row in rows]
    tasks = {one.task for one in results}
    if len(tasks) > 1:
        for row in rows:
            row.name += f", {row.first.task}" if row.first.is_trained else ""
    if not is_world:
        for row in rows:
            row.marks = row.first.marks
    leading = _leading(rows)
    _tell_apart(rows)
    rows.sort(
        key=lambda row: (row.data_regime or "~", -row.values[leading].value if leading in row.values else math.inf)
    )
    return ResultTable(
        task=kind if len(tasks) > 1 else tasks.pop(),
        data=_names(one.data for one in results if one.states_data) or _names(one.data for one in results),
        split=_names(one.split for one in results) or None,
        scene=scene,
        fingerprint=fingerprint,
        num_examples=num_examples,
        rows=rows,
        leading=leading,
        is_world=is_world,
    )


def _keyed(files: Mapping[Path, Results]) -> Iterator[tuple[_Key, Path, Results]]:
    """Each result with its table's key: data without a stated name are Picturebook's where their references are."""
    worlds: dict[str, set[bool]] = {}
    for one in files.values():
        if one.states_data:
            worlds.setdefault(one.examples, set()).add(one.data == WORLD)
    for path, one in files.items():
        is_world = one.data == WORLD if one.states_data else worlds.get(one.examples) == {True}
        yield (one.kind, one.scene, one.examples, one.num_examples, is_world), path, one


def build_tables(files: Mapping[Path, Results]) -> tuple[list[ResultTable], list[str]]:
    """Tables of all results, and sentences on what was left out or folded.

    Results of one system that differ in their seed only are one row. A table holds what was asked of the
    same examples with the same references, by whatever name they go; Picturebook's stand apart from all
    others. Of two results with the same seed the last by name counts.
    """
    systems: dict[tuple[_Key, str | None, str, str, str], dict[int | None, tuple[Path, Results]]] = {}
    notes = []
    for table, path, one in _keyed(files):
        # A result without a seed is a row of its own.
        own = str(path) if one.seed is None else ""
        seeds = systems.setdefault((table, one.data_regime, one.name, one.identity(), own), {})
        if one.seed in seeds:
            notes.append(f"{seeds[one.seed][0]} is left out: {path} is the same system with the same seed {one.seed}")
        seeds[one.seed] = (path, one)
    tables: dict[_Key, list[Row]] = {}
    for key, seeds in systems.items():
        folded = [one for _, one in seeds.values()]
        tables.setdefault(key[0], []).append(_row(folded))
        notes += _assumed(folded)
    made = [_table(key, rows) for key, rows in tables.items()]
    return sorted(made, key=lambda one: (one.is_world, one.task, one.data, one.split or "", one.scene or "")), notes


def _assumed(folded: Sequence[Results]) -> list[str]:
    """What is taken to be the same file though it lies in several places."""
    notes = []
    for key in ("lm.name", "clip.weights"):
        places = {str(place) for one in folded if (place := one.trained_with(*key.split("."))) is not None}
        if len(places) > 1:
            told = ", ".join(sorted(places))
            notes.append(f"“{folded[0].name}”: seeds are folded as if {key} were the same file in {told}")
    return notes


def _unlike(a: Results, b: Results) -> bool:
    """Whether two results are known to be of different examples, or stand on different sides of Picturebook."""
    both_stated = a.states_data and b.states_data
    if a.kind != b.kind or (both_stated and (a.data == WORLD) != (b.data == WORLD)):
        return True
    other_split = a.split is not None and b.split is not None and a.split != b.split
    return a.examples != b.examples and ((both_stated and a.data != b.data) or other_split)


def pair_evaluations(folders: Sequence[str], num_resamples: int) -> Pairing:
    """The first of two evaluations minus the second, example by example, in their leading metric.

    Raises:
        UserError: if their scores are not there, or are not of the same task, data and examples.
    """
    first, second = (Path(name).parent if Path(name).name == "results.json" else Path(name) for name in folders)
    a, b = (read_results(folder / "results.json", "compare") for folder in (first, second))
    if _unlike(a, b):
        named = [f"{one.task} on {one.data}{f', {one.split}' if one.split else ''}" for one in (a, b)]
        raise UserError(
            f"compare={first},{second}: {named[0]} cannot be paired with {named[1]}; give two evaluations of the same"
        )
    (metric, scores_a), (metric_b, scores_b) = read_scores(first), read_scores(second)
    only_a, only_b = scores_a.keys() - scores_b.keys(), scores_b.keys() - scores_a.keys()
    if only_a or only_b or metric != metric_b:
        raise UserError(
            f"compare={first},{second}: {len(only_a):,} examples are in the first only and {len(only_b):,} in the second only, "
            f"scored in {metric} and {metric_b}; a paired bootstrap needs the same examples and metric"
        )
    values_a, values_b = (np.array([scores[name] for name in scores_a]) for scores in (scores_a, scores_b))
    difference = compare_paired_means(values_a, values_b, num_resamples)
    data = _names(one.data for one in (a, b) if one.states_data) or _names([a.data, b.data])
    return Pairing(
        names=(a.name, b.name),
        folders=(str(first), str(second)),
        data_regimes=(a.data_regime, b.data_regime),
        scenes=(a.scene, b.scene),
        data=data,
        metric=metric,
        num_examples=len(scores_a),
        same_references=a.examples == b.examples,
        difference=difference,
        is_world=data == WORLD,
        marks=[] if data == WORLD else list(dict.fromkeys(a.marks + b.marks)),
    )
