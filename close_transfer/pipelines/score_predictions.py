"""score_predictions.py: score any system's predictions with the official scorers, without a model.

The output folder holds `results.json`, with the same fields as an evaluation's, and `scores.jsonl`, the leading
metric of every example.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.atomic_files import fingerprint_file, remove_stale, write_json, write_text
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction, fingerprint_examples
from close_transfer.evaluation.extra_metrics import compute_extra_scores, list_image_metrics
from close_transfer.evaluation.official_formats import fingerprint_references
from close_transfer.evaluation.provenance import get_git_commit, get_package_versions
from close_transfer.evaluation.reference_files.entries import format_first
from close_transfer.evaluation.reference_files.predictions import read_predictions
from close_transfer.evaluation.reference_files.references import References, read_references
from close_transfer.evaluation.results import Results
from close_transfer.evaluation.score_lines import format_score_lines
from close_transfer.metrics.bootstrap import Scores, average_scores
from close_transfer.models.device import pick_device
from close_transfer.tasks import build_task


@dataclass(frozen=True)
class Scored:
    """Scored predictions.

    Attributes:
        examples: scored examples, with their references.
        scores: their metrics, in percent or times 100.
        skipped: number of entries of either file that were left out, by reason.
        encoder: encoder of CLIPScore; None without CLIPScore.
    """

    examples: Sequence[Example]
    scores: Scores
    skipped: Counter[str]
    encoder: str | None


def score_predictions(config: ScorePredictionsConfig) -> Scored:
    """Score one file against another, and write the output folder.

    Raises:
        UserError: if the user can correct the cause.
    """
    task = build_task(config.task)
    if config.extra_metrics and not task.writes_captions:
        raise UserError(
            f"extra_metrics={','.join(config.extra_metrics)}: these score captions, and task={task.name} has none. "
            "Use extra_metrics=[]"
        )
    _check_images(config)
    references = read_references(config)
    given = read_predictions(config, {example.id for example in references.examples})
    predictions = given.text_by_id
    examples, skipped = pair_by_id(references, predictions, config)
    if given.num_repeated:
        skipped["repeated predictions"] = given.num_repeated
    answers = [predictions[example.id] for example in examples]
    # Extra metrics come first: they fail early if something is missing, and the other metrics take a while.
    extra, encoder = compute_extra_scores(
        config.extra_metrics, examples, answers, config.clip, config.embedding_cache, pick_device(config.device)
    )
    given_predictions = [
        Prediction(example.id, (answer,), (0.0,)) for example, answer in zip(examples, answers, strict=True)
    ]
    scores = task.score(examples, given_predictions, config.num_bootstrap)
    scores.notes = (*references.notes, *given.notes, *scores.notes)
    if extra:
        values, intervals = average_scores(extra, config.num_bootstrap)
        scores.metrics |= values
        scores.intervals |= intervals
    scored = Scored(examples, scores, skipped, encoder["name"] if encoder else None)
    _write(config, scored)
    return scored


def _check_images(config: ScorePredictionsConfig) -> None:
    compared = list_image_metrics(config.extra_metrics)
    if compared and (config.images is None or config.clip is None or not config.clip.is_joint):
        raise UserError(
            f"extra_metrics={compared[0]} needs the images and an encoder. Give images=FOLDER and clip=open_clip with its settings"
        )


def pair_by_id(
    references: References, predictions: Mapping[str, str], config: ScorePredictionsConfig
) -> tuple[list[Example], Counter[str]]:
    """Return the examples that have a prediction, and the number of entries left out, by reason.

    Predictions for examples that the references' file itself leaves out (no gold label, no caption) do not count as
    extra.

    Raises:
        UserError: if predictions are missing or extra and are not to be skipped, or if no id matches.
    """
    known = {example.id for example in references.examples}
    missing = [example.id for example in references.examples if example.id not in predictions]
    extra = [name for name in predictions if name not in known and name not in references.left_out]
    if len(missing) == len(known):
        raise UserError(
            f"predictions={config.predictions}: none of its {len(predictions):,} ids ({format_first(predictions)}) is among the "
            f"{len(known):,} of references={config.references} ({format_first(known)}). Give files of the same data"
        )
    problems = []
    if missing and config.on_missing == "error":
        problems.append(
            f"{len(missing):,} of {len(known):,} references have no prediction ({format_first(missing)}). "
            "Predict them, or leave them out and count them with on_missing=skip"
        )
    if extra and config.on_extra == "error":
        problems.append(
            f"{len(extra):,} of {len(predictions):,} predictions have no reference ({format_first(extra)}). "
            "Remove them from the file, or leave them out and count them with on_extra=skip"
        )
    if problems:
        raise UserError("\n".join(f"predictions={config.predictions}: {problem}" for problem in problems))
    skipped = references.skipped + Counter(
        {"references without a prediction": len(missing), "predictions without a reference": len(extra)}
    )
    return [example for example in references.examples if example.id in predictions], skipped


def _get_file_stem(path: str) -> str:
    return Path(path).name.removesuffix(".gz").rpartition(".")[0]


def _build_results(config: ScorePredictionsConfig, scored: Scored) -> Results:
    """Return the content of results.json; fields that only a run of this project has are null."""
    return Results(
        system=config.name or _get_file_stem(config.predictions),
        metrics=scored.scores.metrics,
        intervals={name: list(ends) for name, ends in scored.scores.intervals.items()},
        tables=scored.scores.tables,
        num_examples=len(scored.examples),
        num_skipped=scored.skipped.total(),
        skipped=dict(scored.skipped),
        notes=list(scored.scores.notes),
        task=config.task.name,
        data=config.data_name or _get_file_stem(config.references),
        split=config.split,
        scene=config.scene,
        noise=None,
        data_regime=config.data_regime,
        training_input_modality=None,
        validation_input=None,
        seed=config.seed,
        run=None,
        checkpoint=None,
        config={"score": config.model_dump(mode="json")},
        data_fingerprint=fingerprint_examples(scored.examples),
        references_fingerprint=fingerprint_references(scored.examples),
        predictions_fingerprint=fingerprint_file(Path(config.predictions)),
        training_data_fingerprint=None,
        encoder=None,
        clipscore_encoder=scored.encoder,
        versions=get_package_versions(),
        git_commit=get_git_commit(),
    )


def _write(config: ScorePredictionsConfig, scored: Scored) -> None:
    folder = Path(config.output)
    remove_stale(folder)
    write_text(folder / "scores.jsonl", format_score_lines([e.id for e in scored.examples], scored.scores))
    write_json(folder / "results.json", _build_results(config, scored).as_dict())


def describe_scoring(config: ScorePredictionsConfig, scored: Scored) -> str:
    """Return the metrics with their intervals, rounded as the official tools round them, and the entries left out."""
    # The official tools print three decimals of 0..1 for captions, and two of a percentage for VQA.
    decimals = 1 if scored.scores.leading == "CIDEr" else 2
    lines = [f"{config.task.name} on {len(scored.examples):,} examples of {Path(config.references).name}:"]
    width = max(map(len, scored.scores.metrics))
    for name, value in scored.scores.metrics.items():
        low, high = scored.scores.intervals[name]
        lines.append(f"  {name:<{width}} {value:7.{decimals}f}   [{low:.{decimals}f}, {high:.{decimals}f}]")
    lines += [f"left out: {count:,} {reason}" for reason, count in scored.skipped.items()]
    lines += [f"note: {note}" for note in scored.scores.notes]
    lines.append(f"results: {Path(config.output) / 'results.json'}")
    return "\n".join(lines)


def main(config: ScorePredictionsConfig) -> None:
    """Score predictions, and print the metrics."""
    show(describe_scoring(config, score_predictions(config)))
