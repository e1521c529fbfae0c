"""Comparison of results: tables that fold seeds, and a paired test of two systems.

Reads results.json and scores.jsonl of evaluations and of scored predictions alike.
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

_MAX_SHOWN_SETTINGS = 4  # in the name of a system; more make it unreadable

# Results group, scene, fingerprint and number of the examples, whether they are Picturebook's.
_TableKey = tuple[str, str | None, str, int, bool]


def compute_t_quantile(freedom: int) -> float:
    """Return the 97.5% quantile of Student's t, for a two-sided 95% interval.

    Args:
        freedom: degrees of freedom.
    """
    return float(student_t.ppf(0.975, freedom))


def _fold_values(metric: str, folded_results: Sequence[Results]) -> Value:
    """Return the mean over seeds with its t-interval; for a single result, its own bootstrap interval."""
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
        # None cannot be compared with numbers; it comes first.
        sorted((results.seed for results in folded_results), key=lambda seed: -1 if seed is None else seed),
        {_format_column(name, first): _fold_values(name, folded_results) for name in shared_metrics},
        first,
        collect_system_settings(first),
    )


def _format_column(metric: str, results: Results) -> str:
    """Return the metric's name, with the encoder if it scores by one: different encoders make different metrics."""
    encoder = results.clipscore_encoder if metric in ENCODER_SCORES else None
    return f"{metric} ({encoder})" if encoder else metric


def _disambiguate_names(rows: Sequence[Row]) -> None:
    """Append the settings that differ to equal names of one table."""
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
    rows.sort(  # "~" puts rows without a regime last
        key=lambda row: (row.data_regime or "~", -row.values[leading].value if leading in row.values else math.inf)
    )
    return ResultTable(
        task=kind if len(tasks) > 1 else tasks.pop(),
        data=_join_names(results.data for results in all_results if results.has_stated_data)
        or _join_names(results.data for results in all_results),
        split=_join_names(results.split for results in all_results) or None,
        scene=scene,
        fingerprint=fingerprint,
        num_examples=num_examples,
        rows=rows,
        leading=leading,
        is_builtin=is_builtin,
    )


def _assign_tables(files: Mapping[Path, Results]) -> Iterator[tuple[_TableKey, Path, Results]]:
    """Yield each result with the key of its table.

    Data without a stated name count as Picturebook's if all results with the same references are.
    """
    builtin_flags: dict[str, set[bool]] = {}
    for results in files.values():
        if results.has_stated_data:
            builtin_flags.setdefault(results.examples_fingerprint, set()).add(results.data == BUILTIN_DATASET)
    for path, results in files.items():
        fingerprint = results.examples_fingerprint
        is_builtin = (
            results.data == BUILTIN_DATASET if results.has_stated_data else builtin_flags.get(fingerprint) == {True}
        )
        yield (results.group, results.scene, fingerprint, results.num_examples, is_builtin), path, results


def build_tables(files: Mapping[Path, Results]) -> tuple[list[ResultTable], list[str]]:
    """Return tables of all results, and notes on what was left out or folded.

    Results of one system that differ only in their seed are one row. A table holds the systems that were
    evaluated on the same examples with the same references, under any name. Picturebook's tables are separate
    from all others. If a system has two results with the same seed, the last by name counts.
    """
    systems: dict[tuple[_TableKey, str | None, str, str, str], dict[int | None, tuple[Path, Results]]] = {}
    notes = []
    for table_key, path, results in _assign_tables(files):
        # Each result without a seed has its own row, because it cannot be folded.
        path_key = str(path) if results.seed is None else ""
        by_seed = systems.setdefault(
            (table_key, results.data_regime, results.name, identify_system(results), path_key), {}
        )
        if results.seed in by_seed:
            notes.append(
                f"left out {by_seed[results.seed][0]}: {path} is the same system with the same seed {results.seed}"
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
    """List the files that are assumed to be the same although their paths differ."""
    notes = []
    for key in ("lm.name", "clip.weights"):
        paths = {
            str(path)
            for results in folded_results
            if (path := results.get_training_setting(*key.split("."))) is not None
        }
        if len(paths) > 1:
            notes.append(
                f"“{folded_results[0].name}”: its seeds are folded, assuming that {key} is the same file in "
                f"{', '.join(sorted(paths))}"
            )
    return notes


def _are_incompatible(first: Results, second: Results) -> bool:
    """Return True if two results are known to be of different examples, or only one of them is of Picturebook."""
    both_stated = first.has_stated_data and second.has_stated_data
    if first.group != second.group or (
        both_stated and (first.data == BUILTIN_DATASET) != (second.data == BUILTIN_DATASET)
    ):
        return True
    splits_differ = first.split is not None and second.split is not None and first.split != second.split
    return first.examples_fingerprint != second.examples_fingerprint and (
        (both_stated and first.data != second.data) or splits_differ
    )


def pair_evaluations(folders: Sequence[str], num_resamples: int) -> Pairing:
    """Compare two evaluations by a paired bootstrap of their leading metric, the first minus the second.

    Args:
        folders: two folders of evaluations, or their results.json.
        num_resamples: number of bootstrap resamples.

    Raises:
        UserError: if scores are missing, or are not of the same task, data and examples.
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
            f"compare={first_folder},{second_folder}: {descriptions[0]} cannot be paired with {descriptions[1]}. "
            "Give two evaluations of the same task, data and split"
        )
    (metric, first_scores), (second_metric, second_scores) = read_scores(first_folder), read_scores(second_folder)
    only_first, only_second = first_scores.keys() - second_scores.keys(), second_scores.keys() - first_scores.keys()
    if only_first or only_second or metric != second_metric:
        raise UserError(
            f"compare={first_folder},{second_folder}: {len(only_first):,} examples are only in the first and "
            f"{len(only_second):,} only in the second, scored in {metric} and {second_metric}. "
            "Give two evaluations of the same examples in the same metric, which a paired bootstrap needs"
        )
    first_values, second_values = (
        np.array([scores[name] for name in first_scores]) for scores in (first_scores, second_scores)
    )
    difference = compare_paired_means(first_values, second_values, num_resamples)
    data = _join_names(
        results.data for results in (first_results, second_results) if results.has_stated_data
    ) or _join_names([first_results.data, second_results.data])
    return Pairing(
        names=(first_results.name, second_results.name),
        folders=(str(first_folder), str(second_folder)),
        data_regimes=(first_results.data_regime, second_results.data_regime),
        scenes=(first_results.scene, second_results.scene),
        data=data,
        metric=metric,
        num_examples=len(first_scores),
        same_references=first_results.examples_fingerprint == second_results.examples_fingerprint,
        difference=difference,
        is_builtin=data == BUILTIN_DATASET,
        marks=[] if data == BUILTIN_DATASET else list(dict.fromkeys(first_results.marks + second_results.marks)),
    )
