"""eval_composition.py: test an encoder or a captioner on choices between captions that differ in composition only."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.components import ClipConfig
from close_transfer.config.eval_composition import EvalCompositionConfig
from close_transfer.core.arrays import Float64Array
from close_transfer.core.atomic_files import remove_stale, write_json, write_text
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.composition import CompositionTest
from close_transfer.data.picturebook.composition import build_composition_test
from close_transfer.data.sources.composition_files import read_composition_files
from close_transfer.evaluation.composition import score_composition
from close_transfer.evaluation.provenance import get_git_commit, get_package_versions
from close_transfer.evaluation.results import BUILTIN_DATASET, Results
from close_transfer.evaluation.score_lines import format_score_lines
from close_transfer.inference.caption_scorers import CaptionScorer, SimilarityScorer, load_likelihood_scorer
from close_transfer.metrics.bootstrap import Scores
from close_transfer.models.device import pick_device
from close_transfer.pipelines import console
from close_transfer.reports.composition_report import describe_composition, write_composition_report


def _build_scorer(config: EvalCompositionConfig) -> tuple[CaptionScorer, dict[str, Any]]:
    """Return the scorer of the tested system, and the fields of results.json that name the system."""
    if (config.run is None) == (config.clip is None):
        raise UserError(
            "give either run= or clip=. For example run=latest tests the newest run of task=captioning by likelihood, and "
            "clip=picturebook the Picturebook CLIP by similarity"
        )
    device = pick_device(config.device)
    if config.clip is not None:
        _warn_about_encoder(config, config.clip)
        encoder = SimilarityScorer(config.clip, config.embedding_cache, device)
        return encoder, {"system": encoder.name, "config": {"train": None}}
    captioner, fields = load_likelihood_scorer(config, config.embedding_cache, config.batch_size, device)
    _warn_about_encoder(config, captioner.trained.clip)
    return captioner, fields


def _warn_about_encoder(config: EvalCompositionConfig, clip: ClipConfig) -> None:
    if config.items:
        console.warn_about_encoder(clip, f"items={','.join(config.items)}")


def _load_test(config: EvalCompositionConfig) -> CompositionTest:
    """Return the items of the given files, or of Picturebook."""
    if not config.items:
        return build_composition_test(config.num_order, config.num_per_swap, config.num_twins_per_swap, config.seed)
    assert config.images is not None
    return read_composition_files([Path(name) for name in config.items], Path(config.images))


def _name_data(config: EvalCompositionConfig) -> str:
    return "+".join(Path(name).name.partition(".")[0] for name in config.items) or BUILTIN_DATASET


def _score_twins(scorer: CaptionScorer, test: CompositionTest) -> list[Float64Array]:
    """Return the score of each caption for each image, shape (2 images, 2 captions) per pair of twins."""
    images = [image for item in test.twins for image in item.images]
    captions = [item.captions for item in test.twins for _ in item.images]
    scores = scorer.score(images, captions)
    return [np.asarray(scores[start : start + 2], dtype=np.float64) for start in range(0, len(scores), 2)]


def _build_results(
    config: EvalCompositionConfig,
    test: CompositionTest,
    scorer: CaptionScorer,
    system: dict[str, Any],
    scores: Scores,
) -> Results:
    return Results(
        metrics=scores.metrics,
        intervals={name: list(ends) for name, ends in scores.intervals.items()},
        num_examples=len(test.choices) + len(test.twins),
        tables=scores.tables,
        task="composition",
        data=_name_data(config),
        split=None if config.items else "test",
        scene="image",
        data_fingerprint=test.fingerprint(),
        encoder=scorer.encoder.name,
        versions=get_package_versions(),
        git_commit=get_git_commit(),
        **system | {"config": system["config"] | {"composition": config.model_dump(mode="json")}},
    )


def _format_predictions(
    test: CompositionTest, choice_scores: list[list[float]], twin_scores: list[Float64Array]
) -> str:
    lines = [
        {"id": item.id, "captions": item.captions, "scores": scores}
        for item, scores in zip(test.choices, choice_scores, strict=True)
    ] + [
        {"id": item.id, "captions": item.captions, "scores": scores.tolist()}
        for item, scores in zip(test.twins, twin_scores, strict=True)
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def eval_composition(config: EvalCompositionConfig) -> Results:
    """Test a system, and write predictions.jsonl, scores.jsonl, report.html and results.json.

    Raises:
        UserError: if the user can correct the cause.
    """
    scorer, system = _build_scorer(config)
    test = _load_test(config)
    choice_scores = scorer.score([item.image for item in test.choices], [item.captions for item in test.choices])
    twin_scores = _score_twins(scorer, test)
    scores = score_composition(test, choice_scores, twin_scores, scorer.tolerance, config.num_bootstrap)
    results = _build_results(config, test, scorer, system, scores)
    folder = Path(config.output)
    remove_stale(folder)
    write_text(folder / "predictions.jsonl", _format_predictions(test, choice_scores, twin_scores))
    write_text(folder / "scores.jsonl", format_score_lines([item.id for item in test.twins or test.choices], scores))
    write_composition_report(folder, results)
    write_json(folder / "results.json", results.as_dict())
    return results


def main(config: EvalCompositionConfig) -> None:
    """Test the system, write the report, and print the metrics."""
    show(describe_composition(eval_composition(config)))
    show(f"report: {Path(config.output) / 'report.html'}")
