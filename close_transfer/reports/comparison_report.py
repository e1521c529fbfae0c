"""The pages of compare_results.py: Markdown, and HTML in one file that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from close_transfer.config.choices import WORDS_BY_DATA_REGIME
from close_transfer.core.markdown import escape_cell, format_table
from close_transfer.evaluation.result_table import Pairing, ResultTable, Row, Value
from close_transfer.metrics.accuracy import QUESTION_TYPE

BUILTIN_DATASET_SENTENCE = (
    "Picturebook is a built-in world of clip art. These numbers say nothing about published benchmarks."
)
_MARK_SENTENCE = (
    "Marked {marks}: in part made for Picturebook, a built-in world of clip art, so these numbers say nothing "
    "about the method on other data."
)

_INTERVALS = (
    "Beside each number is its 95% interval: over seeds (Student's t) where several were folded into a mean, "
    "else over examples (bootstrap). Bold: the best of its regime."
)


@dataclass(frozen=True)
class Report:
    """What was written where, and what is in it."""

    pages: tuple[Path, Path]
    num_files: int
    tables: Sequence[ResultTable]
    notes: Sequence[str]
    pairing: Pairing | None


def _format_data_regime(data_regime: str | None) -> str:
    """What a system was trained on: its code, and the code in words."""
    if data_regime is None:
        return "not stated"
    return f"{data_regime}: {words.table}" if (words := WORDS_BY_DATA_REGIME.get(data_regime)) else data_regime


def _group_by_data_regime(table: ResultTable) -> list[tuple[str, list[Row]]]:
    """Rows under what they were trained on."""
    return [
        (_format_data_regime(code), list(rows)) for code, rows in groupby(table.rows, key=lambda row: row.data_regime)
    ]


def _list_main_metrics(table: ResultTable) -> list[str]:
    """The columns: metrics over all examples, in the scorer's order."""
    return [name for name in dict.fromkeys(n for row in table.rows for n in row.values) if not _is_part(name)]


def _is_part(metric: str) -> bool:
    return "/" in metric.partition(" (")[0]  # in brackets stands CLIPScore's encoder


def _list_group_metrics(table: ResultTable, question_types: bool) -> list[str]:
    """Metrics over some of the examples: by label, answer type, domain; question types where wanted."""
    names = dict.fromkeys(name for row in table.rows for name in row.values if _is_part(name))
    return [name for name in names if question_types or f"/{QUESTION_TYPE}" not in name]


def _find_best(rows: Sequence[Row], metric: str) -> Row | None:
    """The row with the highest value; None where there is nothing to compare."""
    rows_with_metric = [row for row in rows if metric in row.values]
    return max(rows_with_metric, key=lambda row: row.values[metric].value) if len(rows_with_metric) > 1 else None


def _format_title(table: ResultTable) -> str:
    """Task, data, split and scene in a line."""
    split = f", {table.split}" if table.split else ""
    scene = f", scene: {table.scene}" if table.scene else ""
    return f"{table.task} on {table.data}{split}{scene}"


def _format_facts(table: ResultTable, tables: Sequence[ResultTable]) -> str:
    """Which examples, and whether another table has others of the same split."""
    facts = f"{table.num_examples:,} examples, fingerprint {table.fingerprint[:12]}"
    namesakes = [other for other in tables if _format_title(other) == _format_title(table)]
    if len(namesakes) > 1:
        facts += "; other examples or references than in the other table of this name, so do not compare across them"
    return facts


def _format_name(row: Row) -> str:
    """The system's name, and in brackets what of Picturebook is in it where the data are others."""
    return row.name + "".join(f" [{mark}]" for mark in row.marks)


def _find_remarks(table: ResultTable) -> list[str]:
    """What was left out of the examples, and which encoder saw them; each once, with its systems."""
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
    """What is to be said of Picturebook wherever these numbers stand."""
    if subject.is_builtin:
        return [BUILTIN_DATASET_SENTENCE]
    marks = dict.fromkeys(
        subject.marks if isinstance(subject, Pairing) else (mark for row in subject.rows for mark in row.marks)
    )
    return [_MARK_SENTENCE.format(marks=" or ".join(f"[{mark}]" for mark in marks))] if marks else []


def _format_seeds(row: Row) -> str:
    """How many seeds are in a row, and which."""
    known = [str(seed) for seed in row.seeds if seed is not None]
    return f"{len(known)} ({', '.join(known)})" if known else "not stated"


def _format_rounded(metric: str, value: float) -> str:
    """With the digits that the official tools print: VQA's has two of a percentage, the caption tool three of 0..1."""
    decimals = 2 if metric.startswith("accuracy") else 1
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # added, because -0.0 is no number to read


def _format_number(metric: str, value: Value | None) -> str:
    """The value as printed; empty where there is none."""
    return "" if value is None else _format_rounded(metric, value.value)


def _format_interval(metric: str, value: Value | None) -> str:
    """The interval as printed; empty where there is none."""
    if value is None or value.low is None or value.high is None:
        return ""
    return f"{_format_rounded(metric, value.low)} to {_format_rounded(metric, value.high)}"


def _format_verdict(pairing: Pairing) -> str:
    """What the paired bootstrap supports, in a sentence or two."""
    difference = pairing.difference
    first, second = pairing.names
    if first == second:
        first, second = pairing.folders
    first, second = f"“{first}”", f"“{second}”"
    interval = f"[{difference.low:.2f}, {difference.high:.2f}]"
    if difference.low > 0 or difference.high < 0:
        higher, lower = (first, second) if difference.difference > 0 else (second, first)
        conclusion = f"{higher} scores higher than {lower}: the interval of the difference leaves out zero."
    else:
        conclusion = f"Whether {first} or {second} scores higher is open: the interval of the difference holds zero."
    verdict = (
        f"{pairing.metric} on the same {pairing.num_examples:,} examples of {pairing.data}: {first} minus {second} is "
        f"{difference.difference:.2f}, 95% {interval}; the first is better in {100 * difference.share_better:.1f}% of the resamples. {conclusion}"
    )
    if pairing.data_regimes[0] != pairing.data_regimes[1]:
        first_regime, second_regime = map(_format_data_regime, pairing.data_regimes)
        verdict += f" They were trained on different things (first {first_regime}; second {second_regime})."
    if pairing.scenes[0] != pairing.scenes[1]:
        scenes = " and the second ".join(f"scene={scene or 'unknown'}" for scene in pairing.scenes)
        verdict += f" They were not shown the same: the first {scenes}."
    if not pairing.same_references:
        verdict += " Their ids agree, but their references are not known to be the same."
    return verdict


def _format_markdown_value(row: Row, metric: str, is_best: bool) -> str:
    value, interval = _format_number(metric, row.values.get(metric)), _format_interval(metric, row.values.get(metric))
    text = f"**{value}**" if is_best and value else value
    return f"{text} ({interval})" if interval else text


def _format_markdown_table(table: ResultTable) -> str:
    metrics = _list_main_metrics(table)
    lines = []
    for data_regime, rows in _group_by_data_regime(table):
        leaders = {metric: _find_best(rows, metric) for metric in metrics}
        for row in rows:
            values = [_format_markdown_value(row, metric, leaders[metric] is row) for metric in metrics]
            lines.append([escape_cell(data_regime), escape_cell(_format_name(row)), _format_seeds(row), *values])
    header = ["data regime", "system", "seeds", *metrics]
    tables = [format_table(header, lines, ["left"] * 3 + ["right"] * len(metrics))]
    groups = _list_group_metrics(table, question_types=False)
    if groups:
        names = [f"{row.data_regime or 'not stated'}: {_format_name(row)}" for row in table.rows]
        lines = [
            [escape_cell(metric), *(_format_markdown_value(row, metric, False) for row in table.rows)]
            for metric in groups
        ]
        tables.append(format_table(["", *map(escape_cell, names)], lines, ["left"] + ["right"] * len(names)))
    return "\n\n".join(tables)


def render_markdown(tables: Sequence[ResultTable], pairing: Pairing | None, notes: Sequence[str]) -> str:
    """The page as Markdown; accuracies by question type are in the HTML only."""
    lines = ["# Results", "", _INTERVALS]
    for table in tables:
        lines += ["", f"## {escape_cell(_format_title(table))}", "", f"{_format_facts(table, tables)}."]
        lines += [f"**{warning}**" for warning in _find_warnings(table)]
        lines += ["", _format_markdown_table(table)]
        lines += ["", *(f"- {escape_cell(remark)}" for remark in _find_remarks(table))] if _find_remarks(table) else []
    if pairing is not None:
        lines += ["", "## Two systems, paired", "", escape_cell(_format_verdict(pairing))]
        lines += [f"**{warning}**" for warning in _find_warnings(pairing)]
    if notes:
        lines += ["", "## Notes", "", *(f"- {escape_cell(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def render_html(tables: Sequence[ResultTable], pairing: Pairing | None, notes: Sequence[str]) -> str:
    """The page as HTML."""
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
    """What is in it, what was left out, and where it is."""
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
