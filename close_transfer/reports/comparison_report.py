"""Comparison report of `compare_results.py`, as Markdown and as one self-contained HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from close_transfer.config.choices import WORDS_BY_DATA_REGIME
from close_transfer.core.markdown import Markdown, escape_text, format_table
from close_transfer.evaluation.result_table import Pairing, ResultTable, Row, Value
from close_transfer.metrics.accuracy import QUESTION_TYPE

BUILTIN_DATASET_SENTENCE = (
    "Picturebook is a built-in world of clip art. These numbers say nothing about published benchmarks."
)
_MARK_SENTENCE = (
    "Systems marked {marks} depend on Picturebook, a built-in world of clip art, so their numbers say nothing "
    "about the method on other data."
)
_INTERVALS = (
    "Each number is followed by its 95% interval: over seeds (Student's t) if it is a mean of several, otherwise over "
    "examples (bootstrap). Bold marks the best system of a data regime."
)


@dataclass(frozen=True)
class Report:
    """Comparison report and the pages it was written to.

    Attributes:
        pages: paths of the Markdown and the HTML page.
        num_files: number of results files read.
        tables: one table per set of examples.
        notes: sentences on what was left out or assumed.
        pairing: paired comparison of two systems, if one was requested.
    """

    pages: tuple[Path, Path]
    num_files: int
    tables: Sequence[ResultTable]
    notes: Sequence[str]
    pairing: Pairing | None


def _format_data_regime(data_regime: str | None) -> str:
    """Return a data regime as its code and words."""
    if data_regime is None:
        return "not stated"
    return f"{data_regime}: {words.table}" if (words := WORDS_BY_DATA_REGIME.get(data_regime)) else data_regime


def _group_by_data_regime(table: ResultTable) -> list[tuple[str, list[Row]]]:
    """Group the rows by their data regime, in words."""
    return [
        (_format_data_regime(code), list(rows)) for code, rows in groupby(table.rows, key=lambda row: row.data_regime)
    ]


def _list_main_metrics(table: ResultTable) -> list[str]:
    """List the metrics over all examples, in the scorer's order."""
    return [name for name in dict.fromkeys(n for row in table.rows for n in row.values) if not _is_group_metric(name)]


def _is_group_metric(metric: str) -> bool:
    return "/" in metric.partition(" (")[0]  # the name of an encoder in brackets may have a slash too


def _list_group_metrics(table: ResultTable, question_types: bool) -> list[str]:
    """List the metrics over groups of examples: by label, answer type or domain; optionally by question type."""
    names = dict.fromkeys(name for row in table.rows for name in row.values if _is_group_metric(name))
    return [name for name in names if question_types or f"/{QUESTION_TYPE}" not in name]


def _find_best(rows: Sequence[Row], metric: str) -> Row | None:
    """Return the row with the highest value; None if fewer than two rows have the metric."""
    rows_with_metric = [row for row in rows if metric in row.values]
    return max(rows_with_metric, key=lambda row: row.values[metric].value) if len(rows_with_metric) > 1 else None


def _format_title(table: ResultTable) -> str:
    """Return task, data, split and scene as one line."""
    split = f", {table.split}" if table.split else ""
    scene = f", scene: {table.scene}" if table.scene else ""
    return f"{table.task} on {table.data}{split}{scene}"


def _format_facts(table: ResultTable, tables: Sequence[ResultTable]) -> str:
    """Return the number and fingerprint of the examples, with a warning if another table has the same title."""
    facts = f"{table.num_examples:,} examples, fingerprint {table.fingerprint[:12]}"
    namesakes = [other for other in tables if _format_title(other) == _format_title(table)]
    if len(namesakes) > 1:
        facts += ". Another table has the same title but different examples or references: do not compare the two"
    return facts


def _format_name(row: Row) -> str:
    """Return the system's name, followed by its marks in brackets."""
    return row.name + _format_marks(row)


def _format_marks(row: Row) -> str:
    return "".join(f" [{mark}]" for mark in row.marks)


def _find_remarks(table: ResultTable) -> list[str]:
    """List the entries left out and the encoders, each once, with the systems it applies to."""
    rows_by_remark: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.first.num_skipped:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in row.first.skipped.items())
            rows_by_remark.setdefault(f"left out: {reasons or f'{row.first.num_skipped:,}'}", []).append(row)
        if row.first.encoder:
            rows_by_remark.setdefault(f"encoder: {row.first.encoder}", []).append(row)
    num_rows = len(table.rows)
    return [
        remark if len(rows) == num_rows else f"{remark}, for {'; '.join(f'“{_format_name(row)}”' for row in rows)}"
        for remark, rows in rows_by_remark.items()
    ]


def _find_warnings(subject: ResultTable | Pairing) -> list[str]:
    """List the warnings about Picturebook that apply to these numbers."""
    if subject.is_builtin:
        return [BUILTIN_DATASET_SENTENCE]
    marks = dict.fromkeys(
        subject.marks if isinstance(subject, Pairing) else (mark for row in subject.rows for mark in row.marks)
    )
    return [_MARK_SENTENCE.format(marks=" or ".join(f"[{mark}]" for mark in marks))] if marks else []


def _format_seeds(row: Row) -> str:
    """Return the number of seeds of a row, and the seeds."""
    known = [str(seed) for seed in row.seeds if seed is not None]
    return f"{len(known)} ({', '.join(known)})" if known else "not stated"


def _format_rounded(metric: str, value: float) -> str:
    """Return a value with the decimals of the official tools.

    VQA's tool prints two decimals of a percentage, the caption tools three of a number in [0, 1].
    """
    decimals = 2 if metric.startswith("accuracy") else 1
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # adding 0.0 turns -0.0 into 0.0


def _format_number(metric: str, value: Value | None) -> str:
    """Return the rounded value; empty if it is missing."""
    return "" if value is None else _format_rounded(metric, value.value)


def _format_interval(metric: str, value: Value | None) -> str:
    """Return the rounded interval; empty if it is missing."""
    if value is None or value.low is None or value.high is None:
        return ""
    return f"{_format_rounded(metric, value.low)} to {_format_rounded(metric, value.high)}"


def _format_verdict(pairing: Pairing) -> str:
    """Describe in sentences what the paired bootstrap supports."""
    difference = pairing.difference
    first, second = pairing.names
    if first == second:
        first, second = pairing.folders
    first, second = f"“{first}”", f"“{second}”"
    interval = f"[{difference.low:.2f}, {difference.high:.2f}]"
    if difference.low > 0 or difference.high < 0:
        higher, lower = (first, second) if difference.difference > 0 else (second, first)
        conclusion = f"{higher} scores higher than {lower}: the interval of the difference excludes zero."
    else:
        conclusion = (
            f"It is open whether {first} or {second} scores higher: the interval of the difference includes zero."
        )
    verdict = (
        f"{pairing.metric} on the same {pairing.num_examples:,} examples of {pairing.data}: {first} minus {second} is "
        f"{difference.difference:.2f}, 95% interval {interval}. The first scores higher in "
        f"{100 * difference.share_better:.1f}% of the resamples. {conclusion}"
    )
    if pairing.data_regimes[0] != pairing.data_regimes[1]:
        first_regime, second_regime = map(_format_data_regime, pairing.data_regimes)
        verdict += f" Their training data differ (first {first_regime}; second {second_regime})."
    if pairing.scenes[0] != pairing.scenes[1]:
        scenes = " and the second with ".join(f"scene={scene or 'unknown'}" for scene in pairing.scenes)
        verdict += f" Their inputs differ: the first was evaluated with {scenes}."
    if not pairing.same_references:
        verdict += " Their ids agree, but their references may differ."
    return verdict


def _format_markdown_value(row: Row, metric: str, is_best: bool) -> str:
    value, interval = _format_number(metric, row.values.get(metric)), _format_interval(metric, row.values.get(metric))
    text = f"**{value}**" if is_best and value else value
    return Markdown(f"{text} ({interval})" if interval else text)


def _format_markdown_name(row: Row, prefix: str = "") -> Markdown:
    """Return the system's name as a cell; its marks are the program's words, and need no escapes."""
    return Markdown(escape_text(prefix + row.name) + _format_marks(row))


def _format_markdown_table(table: ResultTable) -> str:
    metrics = _list_main_metrics(table)
    lines = []
    for data_regime, rows in _group_by_data_regime(table):
        leaders = {metric: _find_best(rows, metric) for metric in metrics}
        for row in rows:
            values = [_format_markdown_value(row, metric, leaders[metric] is row) for metric in metrics]
            lines.append([data_regime, _format_markdown_name(row), _format_seeds(row), *values])
    header = ["data regime", "system", "seeds", *metrics]
    tables = [format_table(header, lines, ["left"] * 3 + ["right"] * len(metrics))]
    groups = _list_group_metrics(table, question_types=False)
    if groups:
        names = [_format_markdown_name(row, f"{row.data_regime or 'not stated'}: ") for row in table.rows]
        lines = [[metric, *(_format_markdown_value(row, metric, False) for row in table.rows)] for metric in groups]
        tables.append(format_table(["", *names], lines, ["left"] + ["right"] * len(names)))
    return "\n\n".join(tables)


def render_markdown(tables: Sequence[ResultTable], pairing: Pairing | None, notes: Sequence[str]) -> str:
    """Return the report as Markdown; accuracies by question type are only in the HTML."""
    lines = ["# Results", "", _INTERVALS]
    for table in tables:
        lines += ["", f"## {escape_text(_format_title(table))}", "", f"{escape_text(_format_facts(table, tables))}."]
        lines += [f"**{warning}**" for warning in _find_warnings(table)]
        lines += ["", _format_markdown_table(table)]
        lines += ["", *(f"- {escape_text(remark)}" for remark in _find_remarks(table))] if _find_remarks(table) else []
    if pairing is not None:
        lines += ["", "## Paired comparison", "", escape_text(_format_verdict(pairing))]
        lines += [f"**{warning}**" for warning in _find_warnings(pairing)]
    if notes:
        lines += ["", "## Notes", "", *(f"- {escape_text(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def render_html(tables: Sequence[ResultTable], pairing: Pairing | None, notes: Sequence[str]) -> str:
    """Return the report as HTML."""
    loader = jinja2.PackageLoader("close_transfer.reports", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("comparison.html").render(
        tables=[_build_table_context(table, tables) for table in tables],
        pairing=pairing,
        verdict=_format_verdict(pairing) if pairing else "",
        notes=notes,
        find_warnings=_find_warnings,
        intervals=_INTERVALS,
        format_number=_format_number,
        format_interval=_format_interval,
        format_name=_format_name,
        format_seeds=_format_seeds,
        format_data_regime=_format_data_regime,
    )


def _build_table_context(table: ResultTable, tables: Sequence[ResultTable]) -> dict[str, Any]:
    metrics = _list_main_metrics(table)
    max_values = {
        metric: max(row.values[metric].value for row in table.rows if metric in row.values) or 1.0 for metric in metrics
    }
    return {
        "title": _format_title(table),
        "facts": _format_facts(table, tables),
        "warnings": _find_warnings(table),
        "remarks": _find_remarks(table),
        "leading": table.leading,
        "metrics": metrics,
        "max_values": max_values,
        "data_regimes": [
            (name, rows, {metric: _find_best(rows, metric) for metric in metrics})
            for name, rows in _group_by_data_regime(table)
        ],
        "rows": table.rows,
        "groups": _list_group_metrics(table, question_types=True),
    }


def describe_report(report: Report) -> str:
    """Return a summary of the report for the terminal, with its notes, warnings and paths."""
    num_rows = sum(len(table.rows) for table in report.tables)
    lines = [f"files read: {report.num_files:,}, tables: {len(report.tables):,}, systems: {num_rows:,}"]
    lines += [f"note: {note}" for note in report.notes]
    lines += [
        f"note: {_format_title(table)}: {warning}"
        for table in report.tables
        if not table.is_builtin
        for warning in _find_warnings(table)
    ]
    lines += [_format_verdict(report.pairing)] if report.pairing else []
    return "\n".join([*lines, *(f"report: {page}" for page in report.pages)])
