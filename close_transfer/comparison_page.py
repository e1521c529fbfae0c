"""The pages of make_report.py: Markdown, and HTML in one file that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from close_transfer.comparison import Pairing, Row, Table, Value, fold, pair
from close_transfer.config import ReportConfig
from close_transfer.files import write_text
from close_transfer.metrics.accuracy import QUESTION_TYPE
from close_transfer.results import find_results, read_results

WORLD_SENTENCE = "Picturebook is a built-in world of clip art. These numbers say nothing about published benchmarks."

_REGIMES = {
    "T0": "text only",
    "T1": "text, and statistics of unpaired pictures",
    "T2": "text, and unpaired pictures",
    "T3": "text, and pictures generated from it",
    "T4": "pictures with their text",
}
_INTERVALS = (
    "Beside each number is its 95% interval: over seeds (Student's t) where several were folded into a mean, "
    "else over examples (bootstrap). Bold: the best of its regime."
)


@dataclass(frozen=True)
class Report:
    """What was written where, and what is in it."""

    pages: tuple[Path, Path]
    num_files: int
    tables: Sequence[Table]
    notes: Sequence[str]
    pairing: Pairing | None


def regime_in_words(regime: str | None) -> str:
    """What a system was trained on: its code, and the code in words."""
    if regime is None:
        return "not stated"
    return f"{regime}: {_REGIMES[regime]}" if regime in _REGIMES else regime


def by_regime(table: Table) -> list[tuple[str, list[Row]]]:
    """Rows under what they were trained on."""
    return [(regime_in_words(code), list(rows)) for code, rows in groupby(table.rows, key=lambda row: row.regime)]


def main_metrics(table: Table) -> list[str]:
    """The columns: metrics over all examples, in the scorer's order."""
    return [name for name in dict.fromkeys(n for row in table.rows for n in row.values) if "/" not in name]


def group_metrics(table: Table, question_types: bool) -> list[str]:
    """Metrics over some of the examples: by label, answer type, domain; question types where wanted."""
    names = dict.fromkeys(name for row in table.rows for name in row.values if "/" in name)
    return [name for name in names if question_types or f"/{QUESTION_TYPE}" not in name]


def best(rows: Sequence[Row], metric: str) -> Row | None:
    """The row with the highest value; None where there is nothing to compare."""
    having = [row for row in rows if metric in row.values]
    return max(having, key=lambda row: row.values[metric].value) if len(having) > 1 else None


def title(table: Table) -> str:
    """Task, data, split and scene in a line."""
    split = f", {table.split}" if table.split else ""
    scene = f", scene: {table.scene}" if table.scene else ""
    return f"{table.task} on {table.data}{split}{scene}"


def facts(table: Table, tables: Sequence[Table]) -> str:
    """Which examples, and whether another table has others of the same split."""
    said = f"{table.num_examples:,} examples, fingerprint {table.fingerprint[:12]}"
    namesakes = [other for other in tables if title(other) == title(table)]
    if len(namesakes) > 1:
        said += "; other examples or references than in the other table of this name, so do not compare across them"
    return said


def seeds_in_words(row: Row) -> str:
    """How many seeds are in a row, and which."""
    known = [str(seed) for seed in row.seeds if seed is not None]
    return f"{len(known)} ({', '.join(known)})" if known else "not stated"


def _number(value: Value | None) -> str:
    return "" if value is None else f"{value.value:.1f}"


def _range(value: Value | None) -> str:
    if value is None or value.low is None or value.high is None:
        return ""
    return f"{value.low:.1f} to {value.high:.1f}"


def verdict(pairing: Pairing) -> str:
    """What the paired bootstrap supports, in a sentence or two."""
    found = pairing.difference
    a, b = pairing.names
    if a == b:
        a, b = pairing.folders
    a, b = f"“{a}”", f"“{b}”"
    shown = f"[{found.low:.2f}, {found.high:.2f}]"
    if found.low > 0 or found.high < 0:
        higher, lower = (a, b) if found.difference > 0 else (b, a)
        told = f"{higher} scores higher than {lower}: the interval of the difference leaves out zero."
    else:
        told = f"Whether {a} or {b} scores higher is open: the interval of the difference holds zero."
    said = (
        f"{pairing.metric} on the same {pairing.num_examples:,} examples of {pairing.data}: {a} minus {b} is "
        f"{found.difference:.2f}, 95% {shown}; the first is better in {100 * found.share_better:.1f}% of the resamples. {told}"
    )
    if pairing.regimes[0] != pairing.regimes[1]:
        first, second = map(regime_in_words, pairing.regimes)
        said += f" They were trained on different things (first {first}; second {second})."
    if not pairing.same_references:
        said += " Their ids agree, but their references are not known to be the same."
    return said


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_value(row: Row, metric: str, is_best: bool) -> str:
    number, reach = _number(row.values.get(metric)), _range(row.values.get(metric))
    shown = f"**{number}**" if is_best and number else number
    return f"{shown} ({reach})" if reach else shown


def _markdown_table(table: Table) -> list[str]:
    metrics = main_metrics(table)
    lines = [_line(["regime", "system", "seeds", *metrics]), _line(["---"] * 3 + ["---:"] * len(metrics))]
    for regime, rows in by_regime(table):
        leaders = {metric: best(rows, metric) for metric in metrics}
        for row in rows:
            values = [_markdown_value(row, metric, leaders[metric] is row) for metric in metrics]
            lines.append(_line([_cell(regime), _cell(row.name), seeds_in_words(row), *values]))
    groups = group_metrics(table, question_types=False)
    if groups:
        names = [f"{row.regime or 'not stated'}: {row.name}" for row in table.rows]
        lines += ["", _line(["", *map(_cell, names)]), _line(["---", *["---:"] * len(names)])]
        lines += [
            _line([_cell(metric), *(_markdown_value(row, metric, False) for row in table.rows)]) for metric in groups
        ]
    return lines


def markdown(tables: Sequence[Table], pairing: Pairing | None, notes: Sequence[str]) -> str:
    """The page as Markdown; accuracies by question type are in the HTML only."""
    lines = ["# Results", "", _INTERVALS]
    for table in tables:
        lines += ["", f"## {_cell(title(table))}", "", f"{facts(table, tables)}."]
        lines += [f"**{WORLD_SENTENCE}**"] if table.is_world else []
        lines += ["", *_markdown_table(table)]
    if pairing is not None:
        lines += ["", "## Two systems, paired", "", _cell(verdict(pairing))]
        lines += [f"**{WORLD_SENTENCE}**"] if pairing.is_world else []
    if notes:
        lines += ["", "## Left out", "", *(f"- {_cell(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def html(tables: Sequence[Table], pairing: Pairing | None, notes: Sequence[str]) -> str:
    """The page as HTML."""
    loader = jinja2.PackageLoader("close_transfer", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("comparison.html").render(
        tables=[_shown(table, tables) for table in tables],
        pairing=pairing,
        verdict=verdict(pairing) if pairing else "",
        notes=notes,
        world=WORLD_SENTENCE,
        intervals=_INTERVALS,
        number=_number,
        range=_range,
        seeds=seeds_in_words,
        regime=regime_in_words,
    )


def _shown(table: Table, tables: Sequence[Table]) -> dict[str, Any]:
    metrics = main_metrics(table)
    most = {m: max(row.values[m].value for row in table.rows if m in row.values) or 1.0 for m in metrics}
    return {
        "title": title(table),
        "facts": facts(table, tables),
        "is_world": table.is_world,
        "leading": table.leading,
        "metrics": metrics,
        "most": most,
        "regimes": [(name, rows, {m: best(rows, m) for m in metrics}) for name, rows in by_regime(table)],
        "rows": table.rows,
        "groups": group_metrics(table, question_types=True),
    }


def make_report(config: ReportConfig) -> Report:
    """Reads the results and writes both pages.

    Raises:
        UserError: for whatever the user can mend.
    """
    files = {path: read_results(path, "results") for path in find_results(config.results)}
    tables, notes = fold(files)
    pairing = pair(config.compare, config.num_bootstrap) if config.compare else None
    pages = Path(f"{config.output}.md"), Path(f"{config.output}.html")
    write_text(pages[0], markdown(tables, pairing, notes))
    write_text(pages[1], html(tables, pairing, notes))
    return Report(pages, len(files), tables, notes, pairing)


def describe_report(report: Report) -> str:
    """What is in it, what was left out, and where it is."""
    num_rows = sum(len(table.rows) for table in report.tables)
    lines = [f"files read: {report.num_files:,}, tables: {len(report.tables):,}, systems: {num_rows:,}"]
    lines += [f"note: {note}" for note in report.notes]
    lines += [verdict(report.pairing)] if report.pairing else []
    return "\n".join([*lines, *(f"report: {page}" for page in report.pages)])
