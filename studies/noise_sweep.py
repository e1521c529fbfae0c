"""Text-only training over a grid of noise and seeds, as the commands a user would type, several at a time.

What the images of a sweep say must not choose the noise of a text-only system: a sweep is for showing how
sensitive a task is to it, and how well a choice made without images did.
"""

import base64
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
from matplotlib.figure import Figure

from close_transfer.core.atomic_files import write_json, write_text
from close_transfer.core.svg import render_svg
from studies.config import SweepNoiseConfig
from studies.jobs import Job, run_jobs
from studies.scene_scores import SceneScores, map_examples_to_scenes

_COLOURS = {"image": "#c2410c", "text": "#2563a8"}
SCENES: tuple[Literal["image", "text"], ...] = ("image", "text")


@dataclass(frozen=True)
class Point:
    """The score of one scale of noise on one kind of scene.

    Attributes:
        given: what `noise=` was, a number or the name of a choice.
        data_regime: the data that training saw: "T0" text only, "T1" unpaired images too, "T4" pairs.
        noise: standard deviation per coordinate.
        scene: what the model was fed: "image" or "text".
        score: mean over examples and seeds.
        low, high: its 95% bootstrap interval over scenes.
        by_seed: score of each seed.
        below_best: how much lower than the best number of the grid on the same kind of scene, with its paired
            interval; below 0 for a choice that did better than the grid.
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
        """Whether a rule chose the noise."""
        return self.given.startswith("auto")


def _given(config: SweepNoiseConfig) -> list[str]:
    return [*(f"{noise:g}" for noise in config.noises), *config.auto]


def _folder(config: SweepNoiseConfig, given: str, seed: int) -> Path:
    return Path(config.output) / f"noise-{given}-seed-{seed}"


def _statistics(config: SweepNoiseConfig, given: str) -> list[str]:
    return [f"statistics={config.statistics}"] if given in ("auto-unpaired", "auto-paired") else []


def list_jobs(config: SweepNoiseConfig) -> list[Job]:
    """Every training of the sweep, with its tests on images and on texts."""
    settings, asked = shlex.split(config.train_overrides), shlex.split(config.eval_overrides)
    tests = {f"test-{scene}": (f"split={config.split}", f"scene={scene}", *asked) for scene in SCENES}
    return [
        Job(
            _folder(config, given, seed),
            "text",
            (f"task={config.task}", f"noise={given}", f"seed={seed}", *_statistics(config, given), *settings),
            tests,
        )
        for seed in range(config.seeds)
        for given in _given(config)
    ]


def read_points(config: SweepNoiseConfig) -> tuple[dict[str, Any], list[Point]]:
    """Facts of the results, and the scores of a finished sweep by kind of scene and noise."""
    scene_of = map_examples_to_scenes(_folder(config, _given(config)[0], 0), config.split)
    made: list[Point] = []
    facts: dict[str, Any] = {}
    for scene in SCENES:
        found = {
            given: SceneScores.read(
                [_folder(config, given, seed) / f"test-{scene}" for seed in range(config.seeds)], scene_of
            )
            for given in _given(config)
        }
        best = max((found[f"{noise:g}"] for noise in config.noises), key=lambda one: one.score)
        for given, one in found.items():
            lost = best.minus(one, config.num_bootstrap)
            made.append(
                Point(
                    given, one.results["data_regime"], one.results["noise"]["std"], scene, one.score, *one.interval(config.num_bootstrap), one.by_seed,
                    (lost.difference, lost.low, lost.high),
                )
            )  # fmt: skip
        told = ("task", "data", "split", "num_examples", "encoder")
        facts = {"metric": best.metric, "num_scenes": len(best.counts), **{key: best.results[key] for key in told}}
    return facts, sorted(made, key=lambda point: (point.scene, point.is_chosen, point.noise))


def format_verdicts(found: Sequence[Point]) -> list[str]:
    """For each choice, how much of the grid's best on images it reached, in a sentence."""
    best = max((one for one in found if one.scene == "image" and not one.is_chosen), key=lambda one: one.score)
    said = []
    for one in found:
        if one.scene == "image" and one.is_chosen:
            lost, low, high = one.below_best
            share = f"{one.score / best.score:.1%} of " if best.score else ""
            said.append(
                f"noise={one.given} ({one.data_regime}) took {one.noise:.3g} and reached {one.score:.1f} on images, {share}the grid's best "
                f"({best.score:.1f} at {best.noise:g}); below it by {lost:.1f} ({low:.1f} to {high:.1f})"
            )
    return said


def figure(metric: str, found: Sequence[Point]) -> bytes:
    """Score against noise on images and on texts, with intervals as bands and choices as lines, as an SVG."""
    drawn = Figure(figsize=(8, 4), layout="constrained")
    axes = drawn.subplots()
    for scene in SCENES:
        mine = sorted((one for one in found if one.scene == scene and not one.is_chosen), key=lambda one: one.noise)
        x = [one.noise for one in mine]
        label = "tested on images" if scene == "image" else "tested on texts"
        axes.plot(x, [one.score for one in mine], color=_COLOURS[scene], marker="o", ms=4, label=label)
        axes.fill_between(x, [one.low for one in mine], [one.high for one in mine], color=_COLOURS[scene], alpha=0.2)
        for one in (one for one in found if one.scene == scene):
            axes.scatter([one.noise] * len(one.by_seed), one.by_seed, color=_COLOURS[scene], s=8, alpha=0.5)
    for one in (one for one in found if one.is_chosen and one.scene == "image"):
        axes.axvline(one.noise, color="#5b6675", lw=1, ls="--")
        axes.plot([one.noise], [one.score], color=_COLOURS["image"], marker="D", ms=7, mec="white")
        axes.annotate(f" noise={one.given}", (one.noise, axes.get_ylim()[0]), color="#5b6675", fontsize=9, va="bottom")
    axes.set(xlabel="noise in training, standard deviation per coordinate", ylabel=metric)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return render_svg(drawn)


def markdown(metric: str, found: Sequence[Point]) -> str:
    """A table of both kinds of scenes."""
    head = ["tested on", "sees", "noise", metric, "seeds", "below the grid's best"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for one in found:
        lost, low, high = one.below_best
        below = f"{lost:.1f} ({low:.1f} to {high:.1f})" if lost or low or high else ""
        seeds = f"{min(one.by_seed):.1f} to {max(one.by_seed):.1f}"
        noise = f"{one.given}: {one.noise:.3g}" if one.is_chosen else one.given
        lines.append(
            f"| {one.scene} | {one.data_regime} | {noise} | {one.score:.1f} ({one.low:.1f} to {one.high:.1f}) | {seeds} | {below} |"
        )
    return "\n".join(lines)


def run_sweep(config: SweepNoiseConfig) -> str:
    """Trains and tests what is missing; writes sweep.json, sweep.md and sweep.html; gives the table.

    Raises:
        UserError: if a training or a test fails, with its own words.
    """
    run_jobs(list_jobs(config), config.num_workers, config.task)
    facts, found = read_points(config)
    folder, metric, said = Path(config.output), facts["metric"], format_verdicts(found)
    write_json(
        folder / "sweep.json",
        {**facts, "points": [asdict(one) for one in found], "verdicts": said, "config": config.model_dump()},
    )
    table = "\n".join([markdown(metric, found), *(f"\n{one}" for one in said)])
    write_text(folder / "sweep.md", table + "\n")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("close_transfer.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("sweep.html").render(
        metric=metric,
        facts=facts,
        seeds=config.seeds,
        points=found,
        verdicts=said,
        figure=f"data:image/svg+xml;base64,{base64.b64encode(figure(metric, found)).decode()}",
        is_world=facts["data"] == "picturebook",
    )
    write_text(folder / "sweep.html", page)
    return f"{table}\npage: {folder / 'sweep.html'}"


def main(config: SweepNoiseConfig) -> None:
    """Run the study, and print its table."""
    print(run_sweep(config))
