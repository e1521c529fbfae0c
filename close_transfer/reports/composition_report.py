"""Report of a test of composition: report.html, a self-contained file, and a summary for the terminal."""

from pathlib import Path
from typing import Any

from close_transfer.evaluation.results import BUILTIN_DATASET, Results
from close_transfer.reports.template_pages import write_template_page

# Meaning and chance of the metrics of twins; a system that does not see the images gets exactly `_BLIND`.
_TWIN_METRICS = {
    "accuracy/twins": ("right caption for each of two images that share two captions", 50.0),
    "text": ("right caption for both images", 25.0),
    "image": ("right image for both captions", 25.0),
    "group": ("both of these", 100 / 6),
}
_BLIND = {"accuracy/twins": 50.0, "text": 0.0, "image": 0.0, "group": 0.0}
_CHOICE_MEANINGS = {
    "order": "the caption among four shuffles of its words",
    "attribute": "the caption, or the colours swapped",
    "relation": "the caption, or the roles swapped",
    "count": "the caption, or the counts swapped",
}


def _build_rows(results: Results) -> list[dict[str, Any]]:
    """Return the rows of the table: metric, meaning, value, ends of its interval, chance, and value without seeing."""
    tables = results.tables or {}
    rows = []
    for metric, value in results.metrics.items():
        stratum = metric.removeprefix("accuracy/")
        if metric in _TWIN_METRICS:
            meaning, chance = _TWIN_METRICS[metric]
        else:
            meaning, chance = _CHOICE_MEANINGS.get(stratum, stratum), tables["choices"][stratum]["chance"]
        low, high = results.intervals[metric]
        rows.append(
            {"metric": metric, "meaning": meaning, "value": value, "low": low, "high": high, "chance": chance}
            | {"blind": _BLIND.get(metric)}
        )
    return rows


def describe_composition(results: Results) -> str:
    """Return the metrics with their intervals and chance, one per line."""
    lines = [f"composition of {results.name}, {results.num_examples:,} items, in percent:"]
    for row in _build_rows(results):
        lines.append(
            f"  {row['metric']:<20} {row['value']:6.1f}   [{row['low']:.1f}, {row['high']:.1f}]   chance {row['chance']:.1f}"
        )
    return "\n".join(lines)


def write_composition_report(folder: Path, results: Results) -> None:
    """Write report.html next to results.json."""
    write_template_page(
        folder / "report.html",
        "composition.html",
        results=results,
        rows=_build_rows(results),
        strata=(results.tables or {}).get("twins", {}),
        is_builtin=results.data == BUILTIN_DATASET,
    )
