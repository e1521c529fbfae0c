"""Sets results side by side: seeds folded, one table for what was asked of the same examples, two runs paired.

Takes the results.json and scores.jsonl of evaluations and of scored predictions alike.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from scipy.stats import t as student_t

from close_transfer.core.errors import UserError
from close_transfer.evaluation.result_table import Pairing, ResultTable, Row, Value
from close_transfer.evaluation.results import BUILTIN_DATASET, Results, read_results
from close_transfer.evaluation.score_lines import read_scores
from close_transfer.evaluation.system_identity import collect_system_settings, identify_system
from close_transfer.metrics.bootstrap import compare_paired_means
from close_transfer.metrics.extra_metrics import ENCODER_SCORES

_MAX_SHOWN_SETTINGS = 4

# What was asked, of what kind of scene, fingerprint and number of the examples, whether they are Picturebook's.
_TableKey = tuple[str, str | None, str, int, bool]


def compute_t_quantile(freedom: int) -> float:
    """Return the 97.5% point of Student's t, for a two-sided 95% interval."""
    return float(student_t.ppf(0.975, freedom))


def _fold_values(metric: str, folded_results: Sequence[Results]) -> Value:
    values = [results.metrics[metric] for results in folded_results]
    if len(values) == 1:
        low, high = folded_results[0].intervals.get(metric, (None, None))
        return Value(values[0], low, high)
    half_width = compute_t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Value(fmean(values), fmean(values) - half_width, fmean(values) + half_width)


def _build_row(folded_results: Sequence[Results]) -> Row:
    shared_metrics = [
        name for name in folded_results[0].metrics if all(name in results.metrics for results in folded_results)
    ]
    first = folded_results[0]
    return Row(
        first.name,
        first.data_regime,
        sorted((results.seed for results in folded_results), key=lambda seed: -1 if seed is None else seed),
        {_format_column(name, first): _fold_values(name, folded_results) for name in shared_metrics},
        first,
        collect_system_settings(first),
    )


def _format_column(metric: str, results: Results) -> str:
    """The metric's name; CLIPScores and the like of different encoders are different metrics."""
    encoder = results.clipscore_encoder if metric in ENCODER_SCORES else None
    return f"{metric} ({encoder})" if encoder else metric


def _disambiguate_names(rows: Sequence[Row]) -> None:
    """Adds to equal names of one table the settings that differ."""
    by_name: dict[tuple[str | None, str], list[Row]] = {}
    for row in rows:
        by_name.setdefault((row.data_regime, row.name), []).append(row)
    for namesakes in by_name.values():
        if len(namesakes) == 1:
            continue
        keys = dict.fromkeys(key for row in namesakes for key in row.settings)
        differing_keys = [key for key in keys if len({json.dumps(row.settings.get(key)) for row in namesakes}) > 1]
        for row in namesakes:
            settings = [f"{key}={row.settings[key]}" for key in differing_keys if key in row.settings]
            row.name += (
                f" ({', '.join(settings[:_MAX_SHOWN_SETTINGS])}{', ...' if len(settings) > _MAX_SHOWN_SETTINGS else ''})"
                if settings
                else ""
            )


def _find_leading_metric(rows: Iterable[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row.values)
    return next((name for name in ("CIDEr", "accuracy") if name in names), next(iter(names)))


def _join_names(names: Iterable[str | None]) -> str:
    return " / ".join(sorted({name for name in names if name is not None}))


def _build_table(key: _TableKey, rows: list[Row]) -> ResultTable:
    kind, scene, fingerprint, num_examples, is_builtin = key
    all_results = [row.first for row in rows]
    tasks = {results.task for results in all_results}
    if len(tasks) > 1:
        for row in rows:
            row.name += f", {row.first.task}" if row.first.is_trained else ""
    if not is_builtin:
        for row in rows:
            row.marks = row.first.marks
    leading = _find_leading_metric(rows)
    _disambiguate_names(rows)
    rows.sort(
        key=lambda row: (row.data_regime or "~", -row.values[leading].value if leading in row.values else math.inf)
    )
    return ResultTable(
        task=kind if len(tasks) > 1 else tasks.pop(),
        data=_join_names(results.data for results in all_results if results.states_data)
        or _join_names(results.data for results in all_results),
        split=_join_names(results.split for results in all_results) or None,
        scene=scene,
        fingerprint=fingerprint,
        num_examples=num_examples,
        rows=rows,
        leading=leading,
        is_builtin=is_builtin,
    )


def _key_results(files: Mapping[Path, Results]) -> Iterator[tuple[_TableKey, Path, Results]]:
    """Each result with its table's key: data without a stated name are Picturebook's where their references are."""
    world_flags: dict[str, set[bool]] = {}
    for results in files.values():
        if results.states_data:
            world_flags.setdefault(results.examples, set()).add(results.data == BUILTIN_DATASET)
    for path, results in files.items():
        is_builtin = (
            results.data == BUILTIN_DATASET if results.states_data else world_flags.get(results.examples) == {True}
        )
        yield (results.kind, results.scene, results.examples, results.num_examples, is_builtin), path, results


def build_tables(files: Mapping[Path, Results]) -> tuple[list[ResultTable], list[str]]:
    """Tables of all results, and sentences on what was left out or folded.

    Results of one system that differ in their seed only are one row. A table holds what was asked of the
    same examples with the same references, by whatever name they go; Picturebook's stand apart from all
    others. Of two results with the same seed the last by name counts.
    """
    systems: dict[tuple[_TableKey, str | None, str, str, str], dict[int | None, tuple[Path, Results]]] = {}
    notes = []
    for table_key, path, results in _key_results(files):
        # A result without a seed is a row of its own.
        path_key = str(path) if results.seed is None else ""
        by_seed = systems.setdefault(
            (table_key, results.data_regime, results.name, identify_system(results), path_key), {}
        )
        if results.seed in by_seed:
            notes.append(
                f"{by_seed[results.seed][0]} is left out: {path} is the same system with the same seed {results.seed}"
            )
        by_seed[results.seed] = (path, results)
    rows_by_key: dict[_TableKey, list[Row]] = {}
    for system_key, by_seed in systems.items():
        folded_results = [results for _, results in by_seed.values()]
        rows_by_key.setdefault(system_key[0], []).append(_build_row(folded_results))
        notes += _list_assumptions(folded_results)
    tables = [_build_table(table_key, rows) for table_key, rows in rows_by_key.items()]
    return sorted(
        tables, key=lambda table: (table.is_builtin, table.task, table.data, table.split or "", table.scene or "")
    ), notes


def _list_assumptions(folded_results: Sequence[Results]) -> list[str]:
    """What is taken to be the same file though it lies in several places."""
    notes = []
    for key in ("lm.name", "clip.weights"):
        places = {
            str(place) for results in folded_results if (place := results.trained_with(*key.split("."))) is not None
        }
        if len(places) > 1:
            place_list = ", ".join(sorted(places))
            notes.append(f"“{folded_results[0].name}”: seeds are folded as if {key} were the same file in {place_list}")
    return notes


def _are_incompatible(first: Results, second: Results) -> bool:
    """Whether two results are known to be of different examples, or stand on different sides of Picturebook."""
    both_stated = first.states_data and second.states_data
    if first.kind != second.kind or (
        both_stated and (first.data == BUILTIN_DATASET) != (second.data == BUILTIN_DATASET)
    ):
        return True
    splits_differ = first.split is not None and second.split is not None and first.split != second.split
    return first.examples != second.examples and ((both_stated and first.data != second.data) or splits_differ)


def pair_evaluations(folders: Sequence[str], num_resamples: int) -> Pairing:
    """The first of two evaluations minus the second, example by example, in their leading metric.

    Raises:
        UserError: if their scores are not there, or are not of the same task, data and examples.
    """
    first_folder, second_folder = (
        Path(name).parent if Path(name).name == "results.json" else Path(name) for name in folders
    )
    first_results, second_results = (
        read_results(folder / "results.json", "compare") for folder in (first_folder, second_folder)
    )
    if _are_incompatible(first_results, second_results):
        descriptions = [
            f"{results.task} on {results.data}{f', {results.split}' if results.split else ''}"
            for results in (first_results, second_results)
        ]
        raise UserError(
            f"compare={first_folder},{second_folder}: {descriptions[0]} cannot be paired with {descriptions[1]}; give two evaluations of the same"
        )
    (metric, first_scores), (second_metric, second_scores) = read_scores(first_folder), read_scores(second_folder)
    only_first, only_second = first_scores.keys() - second_scores.keys(), second_scores.keys() - first_scores.keys()
    if only_first or only_second or metric != second_metric:
        raise UserError(
            f"compare={first_folder},{second_folder}: {len(only_first):,} examples are in the first only and {len(only_second):,} in the second only, "
            f"scored in {metric} and {second_metric}; a paired bootstrap needs the same examples and metric"
        )
    first_values, second_values = (
        np.array([scores[name] for name in first_scores]) for scores in (first_scores, second_scores)
    )
    difference = compare_paired_means(first_values, second_values, num_resamples)
    data = _join_names(
        results.data for results in (first_results, second_results) if results.states_data
    ) or _join_names([first_results.data, second_results.data])
    return Pairing(
        names=(first_results.name, second_results.name),
        folders=(str(first_folder), str(second_folder)),
        data_regimes=(first_results.data_regime, second_results.data_regime),
        scenes=(first_results.scene, second_results.scene),
        data=data,
        metric=metric,
        num_examples=len(first_scores),
        same_references=first_results.examples == second_results.examples,
        difference=difference,
        is_builtin=data == BUILTIN_DATASET,
        marks=[] if data == BUILTIN_DATASET else list(dict.fromkeys(first_results.marks + second_results.marks)),
    )
