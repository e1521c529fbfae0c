"""Text-only training over a grid of noise scales and seeds, several at a time, as the commands that a user would type.

A sweep shows how sensitive a task is to the noise, and how good a choice made without images is. Its scores on images
must not choose the noise of a text-only system.
"""

import base64
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
from matplotlib.figure import Figure

from close_transfer.core.atomic_files import write_json
from close_transfer.core.console import show
from close_transfer.core.markdown import format_table
from close_transfer.core.pages import write_page
from close_transfer.core.svg import escape_label, render_svg
from studies.config import SweepNoiseConfig
from studies.jobs import Job, run_jobs
from studies.scene_scores import SceneScores, map_examples_to_scenes

_COLOURS = {"image": "#c2410c", "text": "#2563a8"}
SCENES: tuple[Literal["image", "text"], ...] = ("image", "text")


@dataclass(frozen=True)
class Point:
    """Score of one noise scale on one kind of scene.

    Attributes:
        given: value of `noise=`, a number or the name of a rule.
        data_regime: data that training saw: "T0" text only, "T1" unpaired images too, "T4" pairs.
        noise: standard deviation per coordinate.
        scene: modality of the test scenes, "image" or "text".
        score: mean over examples and seeds.
        low, high: 95% bootstrap interval of the score over scenes.
        by_seed: score of each seed.
        below_best: shortfall from the best scale of the grid on the same kind of scene, with its paired interval;
            negative if a rule did better than the grid.
    """

    given: str
    data_regime: str
    noise: float
    scene: str
    score: float
    low: float
    high: float
    by_seed: list[float]
    below_best: tuple[float, float, float]

    @property
    def is_chosen(self) -> bool:
        """Return True if a rule chose the noise."""
        return self.given.startswith("auto")


def _list_noise_settings(config: SweepNoiseConfig) -> list[str]:
    return [*(f"{noise:g}" for noise in config.noises), *config.auto]


def _get_run_folder(config: SweepNoiseConfig, noise_setting: str, seed: int) -> Path:
    return Path(config.output) / f"noise-{noise_setting}-seed-{seed}"


def _build_statistics_settings(config: SweepNoiseConfig, noise_setting: str) -> list[str]:
    return [f"statistics={config.statistics}"] if noise_setting in ("auto-unpaired", "auto-paired") else []


def list_jobs(config: SweepNoiseConfig) -> list[Job]:
    """Return every training of the sweep, with its tests on images and on texts."""
    settings, eval_settings = shlex.split(config.train_overrides), shlex.split(config.eval_overrides)
    tests = {f"test-{scene}": (f"split={config.split}", f"scene={scene}", *eval_settings) for scene in SCENES}
    return [
        Job(
            _get_run_folder(config, noise_setting, seed),
            "text",
            (
                f"task={config.task}",
                f"noise={noise_setting}",
                f"seed={seed}",
                *_build_statistics_settings(config, noise_setting),
                *settings,
            ),
            tests,
        )
        for seed in range(config.seeds)
        for noise_setting in _list_noise_settings(config)
    ]


def read_points(config: SweepNoiseConfig) -> tuple[dict[str, Any], list[Point]]:
    """Return facts about the results, and the scores of a finished sweep by kind of scene and noise."""
    scene_of = map_examples_to_scenes(_get_run_folder(config, _list_noise_settings(config)[0], 0), config.split)
    points: list[Point] = []
    facts: dict[str, Any] = {}
    for scene in SCENES:
        scores_by_noise = {
            noise_setting: SceneScores.read(
                [_get_run_folder(config, noise_setting, seed) / f"test-{scene}" for seed in range(config.seeds)],
                scene_of,
            )
            for noise_setting in _list_noise_settings(config)
        }
        best = max((scores_by_noise[f"{noise:g}"] for noise in config.noises), key=lambda scores: scores.score)
        for noise_setting, scores in scores_by_noise.items():
            difference = best.subtract(scores, config.num_bootstrap)
            points.append(
                Point(
                    noise_setting, str(scores.results.data_regime), scores.results.noise_std or 0.0, scene, scores.score, *scores.compute_interval(config.num_bootstrap), scores.by_seed,
                    (difference.difference, difference.low, difference.high),
                )
            )  # fmt: skip
        fact_names = ("task", "data", "split", "num_examples", "encoder")
        facts = {
            "metric": best.metric,
            "num_scenes": len(best.counts),
            **{key: getattr(best.results, key) for key in fact_names},
        }
    return facts, sorted(points, key=lambda point: (point.scene, point.is_chosen, point.noise))


def format_verdicts(points: Sequence[Point]) -> list[str]:
    """Return one sentence per rule: the share of the grid's best score on images that it reached."""
    best = max(
        (point for point in points if point.scene == "image" and not point.is_chosen), key=lambda point: point.score
    )
    verdicts = []
    for point in points:
        if point.scene == "image" and point.is_chosen:
            shortfall, low, high = point.below_best
            share = f"{point.score / best.score:.1%} of " if best.score else ""
            verdicts.append(
                f"noise={point.given} ({point.data_regime}) chose {point.noise:.3g} and reached {point.score:.1f} on images, {share}the grid's best "
                f"({best.score:.1f} at {best.noise:g}), {shortfall:.1f} below it ({low:.1f} to {high:.1f})"
            )
    return verdicts


def draw_figure(metric: str, points: Sequence[Point]) -> bytes:
    """Draw score against noise on images and on texts as an SVG; bands are intervals, dashed lines are rules."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for scene in SCENES:
        grid_points = sorted(
            (point for point in points if point.scene == scene and not point.is_chosen), key=lambda point: point.noise
        )
        x = [point.noise for point in grid_points]
        label = "tested on images" if scene == "image" else "tested on texts"
        axes.plot(x, [point.score for point in grid_points], color=_COLOURS[scene], marker="o", ms=4, label=label)
        axes.fill_between(
            x,
            [point.low for point in grid_points],
            [point.high for point in grid_points],
            color=_COLOURS[scene],
            alpha=0.2,
        )
        for point in (point for point in points if point.scene == scene):
            axes.scatter([point.noise] * len(point.by_seed), point.by_seed, color=_COLOURS[scene], s=8, alpha=0.5)
    for point in (point for point in points if point.is_chosen and point.scene == "image"):
        axes.axvline(point.noise, color="#5b6675", lw=1, ls="--")
        axes.plot([point.noise], [point.score], color=_COLOURS["image"], marker="D", ms=7, mec="white")
        axes.annotate(
            f" noise={point.given}", (point.noise, axes.get_ylim()[0]), color="#5b6675", fontsize=9, va="bottom"
        )
    axes.set(xlabel="noise in training, standard deviation per coordinate", ylabel=escape_label(metric))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return render_svg(figure)


def format_markdown(metric: str, points: Sequence[Point]) -> str:
    """Format the scores on both kinds of scenes as a Markdown table."""
    header = ["tested on", "sees", "noise", metric, "seeds", "below the grid's best"]
    lines = []
    for point in points:
        shortfall, low, high = point.below_best
        below = f"{shortfall:.1f} ({low:.1f} to {high:.1f})" if shortfall or low or high else ""
        seeds = f"{min(point.by_seed):.1f} to {max(point.by_seed):.1f}"
        noise = f"{point.given}: {point.noise:.3g}" if point.is_chosen else point.given
        score = f"{point.score:.1f} ({point.low:.1f} to {point.high:.1f})"
        lines.append([point.scene, point.data_regime, noise, score, seeds, below])
    return format_table(header, lines)


def run_sweep(config: SweepNoiseConfig) -> str:
    """Run the missing trainings and tests, write sweep.json, .md and .html, and return the table.

    Raises:
        UserError: with the message of the training or test that failed.
    """
    run_jobs(list_jobs(config), config.num_workers, config.task)
    facts, points = read_points(config)
    folder, metric, verdicts = Path(config.output), facts["metric"], format_verdicts(points)
    write_json(
        folder / "sweep.json",
        {**facts, "points": [asdict(point) for point in points], "verdicts": verdicts, "config": config.model_dump()},
    )
    table = "\n".join([format_markdown(metric, points), *(f"\n{verdict}" for verdict in verdicts)])
    write_page(folder / "sweep.md", table + "\n")
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [  # sweep.html extends page.html of the reports
                jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
                jinja2.PackageLoader("close_transfer.reports", "templates"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("sweep.html").render(
        metric=metric,
        facts=facts,
        seeds=config.seeds,
        points=points,
        verdicts=verdicts,
        figure=f"data:image/svg+xml;base64,{base64.b64encode(draw_figure(metric, points)).decode()}",
        is_builtin=facts["data"] == "picturebook",
    )
    write_page(folder / "sweep.html", page)
    return f"{table}\npage: {folder / 'sweep.html'}"


def main(config: SweepNoiseConfig) -> None:
    """Run the study, and print its table."""
    show(run_sweep(config))
