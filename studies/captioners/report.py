"""Report of the study of captioners: captioners.json, captioners.md and captioners.html, with learning curves."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from close_transfer.core.atomic_files import write_json
from close_transfer.core.markdown import format_table
from close_transfer.core.pages import write_page
from close_transfer.core.svg import escape_label, render_svg
from studies.captioners.gates import Gate, judge_gates
from studies.captioners.jobs import Job
from studies.captioners.system_scores import SystemScores, collect_scores, list_missing
from studies.captioners.tables import Table, build_tables
from studies.config import StudyCaptionersConfig


def _draw_curves(axes: Axes, systems: Mapping[str, SystemScores], is_perplexity: bool) -> None:
    """Draw each system's loss by step: the mean over seeds as a line, their range as a band."""
    for name, system in systems.items():
        steps = [step for step, _ in next(iter(system.curves.values()))]  # the same for all seeds
        losses = np.asarray([[loss for _, loss in curve] for curve in system.curves.values()])
        values = np.exp(losses) if is_perplexity else losses
        (line,) = axes.plot(steps, values.mean(axis=0), marker="o", ms=3, label=escape_label(name))
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2)
    axes.set(xlabel="steps", ylabel="perplexity of validation captions" if is_perplexity else "validation loss")
    axes.set_yscale("log" if is_perplexity else "linear")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_figure(systems: Mapping[str, SystemScores]) -> bytes | None:
    """Draw the learning curves as an SVG: perplexities of captioners, and losses of the others; None without any."""
    drawn = {name: system for name, system in systems.items() if any(system.curves.values())}
    captioners = {name: system for name, system in drawn.items() if system.is_captioner}
    others = {name: system for name, system in drawn.items() if not system.is_captioner}
    panels = [(group, is_perplexity) for group, is_perplexity in ((captioners, True), (others, False)) if group]
    if not panels:
        return None
    figure = Figure(figsize=(6 * len(panels), 4), layout="constrained")
    for axes, (group, is_perplexity) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_curves(axes, group, is_perplexity)
    return render_svg(figure)


def _describe_metrics(systems: Mapping[str, SystemScores], num_bootstrap: int) -> dict[str, dict[str, Any]]:
    """Return the scores by system and metric. Metrics with as many scenes follow each other, which keeps the draws."""
    described: dict[str, dict[str, Any]] = {name: {} for name in systems}
    rows = [(name, *row) for name, system in systems.items() for row in system.by_metric.items()]
    for name, metric, scores in sorted(rows, key=lambda row: len(row[2].counts)):
        described[name][metric] = {
            "score": scores.score,
            "interval": list(scores.compute_interval(num_bootstrap)),
            "by_seed": scores.by_seed,
        }
    return described


def _describe_systems(systems: Mapping[str, SystemScores], num_bootstrap: int) -> dict[str, Any]:
    metrics = _describe_metrics(systems, num_bootstrap)
    return {
        name: {
            "seeds": list(system.curves),
            "perplexity": {"mean": system.perplexity, "by_seed": system.perplexities},
            "validation_losses": {str(seed): curve for seed, curve in system.curves.items()},
            "metrics": metrics[name],
        }
        for name, system in systems.items()
    }


def _format_markdown(tables: Sequence[Table], missing: Sequence[str]) -> str:
    parts = [f"**{table.title}**\n\n{format_table(table.header, table.rows)}\n\n{table.note}" for table in tables]
    if missing:
        parts.append("Not finished:\n\n" + "\n".join(f"- {line}" for line in missing))
    return "\n\n".join(parts)


def _write_html(path: Path, config: StudyCaptionersConfig, gates: Sequence[Gate], **values: Any) -> None:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [  # captioners.html extends page.html of the reports
                jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
                jinja2.PackageLoader("close_transfer.reports", "templates"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    write_page(path, environment.get_template("captioners.html").render(config=config, gates=gates, **values))


def write_report(config: StudyCaptionersConfig, jobs: Sequence[Job]) -> str:
    """Write the three files about what is finished, and return the tables as Markdown.

    Raises:
        UserError: if a folder holds results of other settings, or a file is damaged.
    """
    systems, missing = collect_scores(config, jobs), list_missing(jobs)
    gates = judge_gates(systems, config.num_bootstrap)
    tables = build_tables(systems, gates, tuple(config.recipes), config.num_bootstrap)
    folder, text = Path(config.output), _format_markdown(tables, missing)
    figure = draw_figure(systems)
    write_json(
        folder / "captioners.json",
        {
            "config": config.model_dump(mode="json"),
            "gates": [
                {"name": gate.name, "status": gate.status, "checks": list(map(asdict, gate.checks))} for gate in gates
            ],
            "systems": _describe_systems(systems, config.num_bootstrap),
            "not_finished": missing,
        },
    )
    write_page(folder / "captioners.md", text + "\n")
    image = None if figure is None else f"data:image/svg+xml;base64,{base64.b64encode(figure).decode()}"
    _write_html(folder / "captioners.html", config, gates, tables=tables, missing=missing, figure=image)
    return text
