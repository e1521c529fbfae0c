"""Report of an encoder's probes: report.html, a self-contained file, and a summary for the terminal."""

from pathlib import Path
from typing import Any

from close_transfer.evaluation.results import BUILTIN_DATASET, Results
from close_transfer.reports.template_pages import write_template_page

_MEANINGS = {
    "majority": "always the most frequent class",
    "zero_shot": "similarity of texts about the classes, no training",
    "zero_shot_likelihood": "likelihood of texts about the classes, no training",
    "linear": "logistic regression, all training images",
    "attention_pool": "one learned query over the grid, all training images",
}


def _describe_probe(name: str) -> str:
    shots = name.removeprefix("few_shot_")
    return _MEANINGS.get(name) or f"linear, {shots} training image{'' if shots == '1' else 's'} per class"


def _split_by_target(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each target: probe, meaning, accuracy and the ends of its interval."""
    by_target: dict[str, list[dict[str, Any]]] = {}
    for metric, value in results.metrics.items():
        target, _, probe = metric.partition("/")
        low, high = results.intervals[metric]
        seeds = (results.tables or {})[target]["seeds"].get(probe)
        row = {"probe": probe, "meaning": _describe_probe(probe), "value": value, "low": low, "high": high}
        by_target.setdefault(target, []).append(row | {"error": seeds["standard_error"] if seeds else None})
    return by_target


def _describe_sizes(facts: dict[str, Any]) -> str:
    return f"{facts['num_classes']} classes, {facts['num_training']:,} training and {facts['num_test']:,} test images"


def describe_probes(results: Results) -> str:
    """Return the accuracies with their intervals, one per line, and the notes."""
    lines = [f"{results.encoder} on {results.data}, accuracy in percent:"]
    for target, rows in _split_by_target(results).items():
        lines.append(f"{target}: {_describe_sizes((results.tables or {})[target])}")
        for row in rows:
            error = f"   ±{row['error']:.1f} over seeds" if row["error"] is not None else ""
            lines.append(f"  {row['probe']:<20} {row['value']:6.1f}   [{row['low']:.1f}, {row['high']:.1f}]{error}")
    return "\n".join([*lines, *(f"note: {note}" for note in results.notes)])


def write_probe_report(folder: Path, results: Results) -> None:
    """Write report.html next to results.json."""
    targets = _split_by_target(results)
    write_template_page(
        folder / "report.html",
        "probes.html",
        results=results,
        targets=targets,
        sizes={target: _describe_sizes((results.tables or {})[target]) for target in targets},
        is_builtin=results.data == BUILTIN_DATASET,
    )
