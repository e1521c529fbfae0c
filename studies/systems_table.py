"""Markdown table of a comparison of systems."""

from collections.abc import Mapping
from typing import Any

from close_transfer.core.markdown import format_table
from studies.config import RunStudyConfig


def _format_cell(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    text = f"{row['score']:.1f} ({low:.1f} to {high:.1f})"
    difference, *bounds = row["against_baseline"]
    return f"{text}; {difference:+.1f} ({bounds[0]:+.1f} to {bounds[1]:+.1f})" if difference or any(bounds) else text


def format_markdown(config: RunStudyConfig, table: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Format a Markdown table with one row per system, in the settings' order, and one column per task."""
    metrics = {task: table[config.baseline][task]["metric"] for task in config.tasks}
    header = [
        "system",
        "sees",
        *(["cosine"] if config.cosines else []),
        *(["parameters trained", "minutes"] if config.costs else []),
        *(f"{task} ({m})" for task, m in metrics.items()),
    ]
    lines = []
    for name, row in table.items():
        if not row:
            continue  # the system is not run on any of these tasks
        first = next(iter(row.values()))
        extra_cells = [f"{first['cosine']:.2f}" if "cosine" in first else ""] if config.cosines else []
        if config.costs:
            trains = "minutes" in first
            extra_cells += [f"{first['trained_parameters']:,}", f"{first['minutes']:.1f}"] if trains else ["none", ""]
        sees = "/".join(sorted({result["data_regime"] for result in row.values()}))
        scores = (_format_cell(row[task]) if task in row else "" for task in config.tasks)
        lines.append([name, sees, *extra_cells, *scores])
    return format_table(header, lines)
