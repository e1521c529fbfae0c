"""Report page of an evaluation: scores, examples and learning curve in one self-contained HTML file."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from close_transfer.core.atomic_files import damaged_file_error
from close_transfer.core.errors import UserError
from close_transfer.core.pages import write_page
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import field, key_field, read_lines, verbatim
from close_transfer.core.svg import render_svg
from close_transfer.data.examples import Example
from close_transfer.evaluation.record import Evaluation, describe_leakage
from close_transfer.evaluation.results import Results, read_results
from close_transfer.metrics.accuracy import QUESTION_TYPE
from close_transfer.training.trainer import read_learning_curves

_NUM_RANDOM = 24  # random examples on the page
_NUM_EXTREME = 6  # examples with the highest and with the lowest scores
_IMAGE_SIZE = 192  # pixels of the longer side; a page of 36 images stays below a few MB


@dataclass(frozen=True)
class ComparedEvaluation:
    """Another evaluation of the same examples, shown next to the page's own.

    Attributes:
        name: name of the system.
        results: content of its results.json.
        answers: predicted text by example id.
    """

    name: str
    results: Results
    answers: dict[str, str]

    @classmethod
    def read(cls, folder: Path, name: str | None = None) -> "ComparedEvaluation":
        """Read an evaluation from its folder.

        Args:
            folder: folder of the evaluation.
            name: name of the system; None takes the name in its results.

        Raises:
            UserError: if the folder holds no finished evaluation, or a damaged one.
        """
        results_path, predictions_path = folder / "results.json", folder / "predictions.jsonl"
        if not results_path.is_file():
            raise UserError(f"compare={folder}: it has no results.json. Evaluate that run first")
        results = read_results(results_path, "compare")
        answers = {}
        for line, record in read_lines(predictions_path, "compare"):
            try:
                answers[key_field(record, "id")] = verbatim(field(record, "prediction"), "prediction")
            except RecordError as error:
                raise damaged_file_error(predictions_path, f"line {line}: {error}") from None
        if len(answers) != results.num_examples:
            raise damaged_file_error(
                predictions_path, f"it has {len(answers):,} answers, but results.json has {results.num_examples:,}"
            )
        return cls(name or results.name, results, answers)


def describe_noise(noise: dict[str, float], training_input_modality: str) -> str:
    """Describe the effect of the training noise to a reader who does not know the method.

    Args:
        noise: noise as results.json has it.
        training_input_modality: "text" or "image".
    """
    if noise["std"] == 0:
        if training_input_modality == "image":
            return "The model was trained on image vectors, without noise."
        return "No noise was added. The model was trained on clean text vectors, so image vectors are unfamiliar to it."
    degrees = np.degrees(np.arccos(noise["cosine"]))
    return (
        f"In training, random noise of length {noise['length']:.2f} ({noise['std']:.3g} per coordinate) was added to "
        f"every unit vector, and the sum was scaled back to length 1. The result points about {degrees:.0f} degrees away "
        f"from the clean vector (cosine {noise['cosine']:.2f}), so the model learns to answer from a neighbourhood of "
        "the vector and not only from one point. No noise is added at test time."
    )


def _build_data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _encode_image(example: Example) -> str | None:
    if example.image is None:
        return None
    try:
        image = example.image.open()
    except UserError:  # vectors only: there is no image to show
        return None
    image.thumbnail((_IMAGE_SIZE, _IMAGE_SIZE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _build_data_uri(buffer.getvalue(), "image/png")


def _plot_curve(run: Path) -> str | None:
    """Plot loss by step, as the URI of an SVG image; None without a log."""
    curves = {name: points for name, points in read_learning_curves(run).items() if points}
    if not curves:
        return None
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    styles: dict[str, dict[str, Any]] = {
        "training": {"color": "#9ab", "lw": 1.2},
        "validation": {"color": "#c2410c", "marker": "o", "ms": 4},
    }
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), label=name, **styles[name])
    axes.set(xlabel="step", ylabel="loss, nats per token", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return _build_data_uri(render_svg(figure), "image/svg+xml")


def _build_case(evaluation: Evaluation, row: int, others: Sequence[ComparedEvaluation]) -> dict[str, Any]:
    example, prediction = evaluation.examples[row], evaluation.predictions[row]
    references = list(dict.fromkeys(example.references))
    return {
        "image": _encode_image(example),
        "text": example.texts[0] if evaluation.config.scene == "text" and example.texts else None,
        "prompt": example.prompt,
        "answer": prediction.text,
        "others": [(other.name, other.answers.get(example.id, "(not evaluated)")) for other in others],
        "references": references,
        "score": evaluation.scores.per_example[row],
    }


def _build_rows(evaluation: Evaluation, others: Sequence[ComparedEvaluation]) -> list[dict[str, Any]]:
    """Build one row per metric, with one cell per system: value, ends of the interval, share of the highest value."""
    systems = [evaluation.build_results(), *(other.results for other in others)]
    # Question types are left out, because there are dozens; results.json has them.
    metrics = [name for name in evaluation.scores.metrics if QUESTION_TYPE not in name]
    max_values = {name: max(system.metrics.get(name, 0.0) for system in systems) for name in metrics}
    return [
        {
            "name": name,
            "cells": [
                {
                    "value": system.metrics.get(name),
                    "low": system.intervals.get(name, [0, 0])[0],
                    "high": system.intervals.get(name, [0, 0])[1],
                    "share": 100 * system.metrics.get(name, 0.0) / (max_values[name] or 1.0),
                }
                for system in systems
            ],
        }
        for name in metrics
    ]


@cache
def _load_template() -> jinja2.Template:
    loader = jinja2.PackageLoader("close_transfer.reports", "templates")
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(
        "evaluation.html"
    )


def write_report(evaluation: Evaluation, others: Sequence[ComparedEvaluation] = ()) -> Path:
    """Write report.html to the evaluation's folder, and return its path.

    Args:
        evaluation: evaluation that the page shows.
        others: evaluations of the same examples, shown next to it.

    Raises:
        UserError: if another evaluation is of other data, another split or another scene.
    """
    results = evaluation.build_results()
    for other in others:
        if other.results.data_fingerprint != results.data_fingerprint:
            raise UserError(
                f"compare: {other.name} was evaluated on other examples than this run. Evaluate both on the same data, split and scene"
            )
    per_example = np.array(evaluation.scores.per_example)
    by_score = np.argsort(per_example, kind="stable")
    # A fixed seed: reports on the same examples show the same ones.
    random_rows = np.random.default_rng(0).permutation(len(per_example))[:_NUM_RANDOM]

    def build_cases(rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        return [_build_case(evaluation, int(row), others) for row in rows]

    page = _load_template().render(
        results=results,
        systems=[results.name, *(other.name for other in others)],
        rows=_build_rows(evaluation, others),
        leading=evaluation.scores.leading,
        leakage=describe_leakage(evaluation.leakage),
        noise=describe_noise(evaluation.noise, evaluation.facts["input_modality"]),
        curve=_plot_curve(evaluation.run),
        random_cases=build_cases(random_rows),
        best=build_cases(by_score[::-1][:_NUM_EXTREME]),
        worst=build_cases(by_score[:_NUM_EXTREME]),
        config=json.dumps(results.config, indent=2),
    )
    path = evaluation.folder / "report.html"
    write_page(path, page)
    return path
