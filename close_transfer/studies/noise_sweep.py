"""Text-only training over a grid of noise and seeds, as the commands a user would type, several at a time.

What the pictures of a sweep say must not choose the noise of a text-only system: a sweep is for showing how
sensitive a task is to it, and how well a choice made without pictures did.
"""

import base64
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from close_transfer.config import SweepConfig
from close_transfer.errors import UserError
from close_transfer.files import read_json, write_json, write_text
from close_transfer.metrics.bootstrap import mean_scores, paired_mean_difference
from close_transfer.results import read_scores

_SCRIPTS = Path(__file__).parents[2] / "scripts"
_COLOURS = {"image": "#c2410c", "text": "#2563a8"}
SCENES: tuple[Literal["image", "text"], ...] = ("image", "text")


@dataclass(frozen=True)
class Point:
    """The score of one scale of noise on one kind of scene.

    Attributes:
        noise: standard deviation per coordinate.
        scene: what the model was fed: "image" or "text".
        score: mean over seeds.
        low, high: its 95% bootstrap interval over examples, seeds averaged for each example.
        by_seed: score of each seed.
        below_best: how much lower than the best scale on the same kind of scene, with its paired interval.
    """

    noise: float
    scene: str
    score: float
    low: float
    high: float
    by_seed: list[float]
    below_best: tuple[float, float, float]


def _folder(config: SweepConfig, noise: float, seed: int) -> Path:
    return Path(config.output) / f"noise-{noise:g}-seed-{seed}"


def _call(script: str, arguments: Sequence[str]) -> None:
    """Runs a script on one thread; threads of one training get in the way of the other's.

    Raises:
        UserError: with the last line of what it said, if it failed.
    """
    finished = subprocess.run(
        [sys.executable, str(_SCRIPTS / script), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        said = (finished.stderr.strip().splitlines() or [f"status {finished.returncode}"])[-1]
        raise UserError(f"{script} {' '.join(arguments)}: {said.removeprefix('error: ')}")


def _train_and_test(config: SweepConfig, noise: float, seed: int) -> None:
    """One training and its tests; what is finished is not done again."""
    folder = _folder(config, noise, seed)
    given = [f"task={config.task}", f"noise={noise}", f"seed={seed}", f"output={folder}", "resume=auto"]
    if any(not (folder / f"test-{scene}" / "results.json").is_file() for scene in SCENES):
        _call("train_text_only.py", [*given, f"runs={config.output}/latest", *shlex.split(config.settings)])
    for scene in SCENES:
        output = folder / f"test-{scene}"
        if not (output / "results.json").is_file():
            asked = [f"task={config.task}", f"run={folder}", f"split={config.split}", f"scene={scene}"]
            _call("eval_image.py", [*asked, f"output={output}", "leakage=false", *shlex.split(config.eval_settings)])


def _run_all(config: SweepConfig) -> None:
    with (
        ThreadPoolExecutor(config.jobs) as pool,
        tqdm(total=len(config.noises) * config.seeds, unit="training", desc=config.task) as bar,
    ):
        futures = [
            pool.submit(_train_and_test, config, noise, seed) for seed in range(config.seeds) for noise in config.noises
        ]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _per_example(config: SweepConfig, noise: float, scene: str) -> tuple[str, np.ndarray]:
    """The leading metric's name, and its value for each example and seed, shape (seeds, examples)."""
    told = [read_scores(_folder(config, noise, seed) / f"test-{scene}") for seed in range(config.seeds)]
    ids = list(told[0][1])
    return told[0][0], np.array([[scores[one] for one in ids] for _, scores in told])


def points(config: SweepConfig) -> tuple[str, list[Point]]:
    """The metric, and the scores of a finished sweep, by kind of scene and noise."""
    made, metric = [], ""
    for scene in SCENES:
        values = {}
        for noise in config.noises:
            metric, values[noise] = _per_example(config, noise, scene)
        means = {noise: one.mean(axis=0) for noise, one in values.items()}
        best = max(means.values(), key=lambda one: one.mean())
        for noise, mean in means.items():
            scores, intervals = mean_scores({metric: mean}, config.num_bootstrap)
            lost = paired_mean_difference(best, mean, config.num_bootstrap)
            made.append(
                Point(
                    noise, scene, scores[metric], *intervals[metric], values[noise].mean(axis=1).tolist(),
                    (lost.difference, lost.low, lost.high),
                )
            )  # fmt: skip
    return metric, made


def figure(metric: str, found: Sequence[Point]) -> bytes:
    """Score against noise on pictures and on texts, with intervals as bands, as an SVG."""
    drawn = Figure(figsize=(8, 4), layout="constrained")
    axes = drawn.subplots()
    for scene in SCENES:
        mine = sorted((one for one in found if one.scene == scene), key=lambda one: one.noise)
        x = [one.noise for one in mine]
        label = "tested on pictures" if scene == "image" else "tested on texts"
        axes.plot(x, [one.score for one in mine], color=_COLOURS[scene], marker="o", ms=4, label=label)
        axes.fill_between(x, [one.low for one in mine], [one.high for one in mine], color=_COLOURS[scene], alpha=0.2)
        for one in mine:
            axes.scatter([one.noise] * len(one.by_seed), one.by_seed, color=_COLOURS[scene], s=8, alpha=0.5)
    axes.set(xlabel="noise in training, standard deviation per coordinate", ylabel=metric)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "the same picture has the same bytes"}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def markdown(metric: str, found: Sequence[Point]) -> str:
    """A table of both kinds of scenes."""
    head = ["scene", "noise", metric, "seeds", "below the best"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for one in found:
        lost, low, high = one.below_best
        below = f"{lost:.1f} ({low:.1f} to {high:.1f})" if lost or low or high else ""
        seeds = f"{min(one.by_seed):.1f} to {max(one.by_seed):.1f}"
        lines.append(
            f"| {one.scene} | {one.noise:g} | {one.score:.1f} ({one.low:.1f} to {one.high:.1f}) | {seeds} | {below} |"
        )
    return "\n".join(lines)


def sweep(config: SweepConfig) -> str:
    """Trains and tests what is missing; writes sweep.json, sweep.md and sweep.html; gives the table.

    Raises:
        UserError: if a training or a test fails, with its own words.
    """
    _run_all(config)
    metric, found = points(config)
    folder = Path(config.output)
    first = read_json(_folder(config, config.noises[0], 0) / "test-image" / "results.json")
    told: dict[str, Any] = {key: first[key] for key in ("task", "data", "split", "regime", "num_examples", "encoder")}
    write_json(
        folder / "sweep.json",
        {**told, "metric": metric, "points": [asdict(one) for one in found], "config": config.model_dump()},
    )
    table = markdown(metric, found)
    write_text(folder / "sweep.md", table + "\n")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("close_transfer", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("sweep.html").render(
        metric=metric,
        facts=told,
        seeds=config.seeds,
        points=found,
        figure=f"data:image/svg+xml;base64,{base64.b64encode(figure(metric, found)).decode()}",
        is_world=told["data"] == "picturebook",
    )
    write_text(folder / "sweep.html", page)
    return f"{table}\npage: {folder / 'sweep.html'}"
