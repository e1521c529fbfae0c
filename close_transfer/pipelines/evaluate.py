"""Evaluates a run: feeds it images (or text), scores its answers, writes what came out.

An evaluation folder holds `predictions.jsonl`, `results.json` and `report.html`. `results.json` is renamed
into place after the predictions, so its presence means that they are complete. Until then a journal
holds what was answered, and the same command goes on from it.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.components import ClipConfig, OpenClipConfig, PrecomputedConfig
from close_transfer.config.data import DataConfig, FileData
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.archive import archive_previous
from close_transfer.core.atomic_files import atomic_path, fingerprint, read_json, remove_stale, sync
from close_transfer.core.errors import UserError
from close_transfer.data.decontamination import check_leakage
from close_transfer.data.examples import Example, Prediction
from close_transfer.data.sources import load_examples
from close_transfer.encoders.build import build_encoder, find_encoder_warning
from close_transfer.encoders.embeddings import SceneVectors, encode_image_scenes, encode_text_scenes
from close_transfer.evaluation.extra_metrics import compute_extra_scores
from close_transfer.evaluation.official_formats import (
    OFFICIAL_FIELDS,
    format_official_results,
    format_score_lines,
)
from close_transfer.evaluation.record import NOT_ASKED, Evaluation
from close_transfer.inference.build_text_memory import build_text_memory
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.journal import PredictionJournal
from close_transfer.inference.loading import check_encoder, load_model
from close_transfer.inference.reranking import Reranker, build_decoding
from close_transfer.metrics.bootstrap import Scores, average_scores
from close_transfer.metrics.spice import require_spice
from close_transfer.models.device import pick_device
from close_transfer.pipelines.console import describe_evaluation
from close_transfer.reports.evaluation_report import ComparedEvaluation, write_report
from close_transfer.tasks import Task, build_task
from close_transfer.training.checkpoints import RunFolder
from close_transfer.training.run_folder import find_run, read_run

# What an evaluation leaves; the results, which make it complete, are the last.
_FILES = ("report.html", "official_results.json", "scores.jsonl", "predictions.jsonl", "results.json")
_PLACES = {"output", "resume", "run", "runs", "device", "embedding_cache", "base_model"}
_BESIDES = {"batch_size", "compare", "leakage", "num_bootstrap", "extra_metrics", "clipscore"}


def _warn_of_seen_images(seen: dict[str, Any] | None, data: DataConfig, split: str) -> None:
    """Says so where the statistics that training read were measured on the images that are asked now."""
    if seen and seen["num_images"] and (seen["data"], seen["split"]) == (data.name, split):
        print(
            f"warning: the adapters were fitted on statistics of {seen['num_images']:,} images of split={split} of "
            f"data={data.name}, which is evaluated now; fit them on another split",
            file=sys.stderr,
        )


def _data_for(config: EvaluateConfig, trained: TrainConfig):
    data = config.data or trained.data
    if isinstance(data, FileData) and config.data is None:
        raise UserError(
            "the run was trained on data=file, whose file is not a test; give data=file data.path=TEST_FILE"
        )
    return data


def _folder(config: EvaluateConfig, run: Path) -> Path:
    """Where the evaluation goes; data that are not the run's own have their name in it."""
    own = [config.data.name] if config.data else []
    return Path(config.output) if config.output else run / "-".join(["eval", *own, config.split, config.scene])


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Evaluates a run and writes its folder.

    Raises:
        UserError: for whatever the user can mend.
    """
    run = find_run(config.run, config.runs, config.task)
    trained, facts = read_run(run)
    if trained.task.name != config.task:
        raise UserError(
            f"task={config.task}: the run at {run} was trained for task={trained.task.name}; give that task, or another run"
        )
    device = pick_device(config.device)
    model, tokenizer = load_model(run, config.checkpoint, device, config.base_model)
    data = _data_for(config, trained)
    facts |= {"statistics": model.config.statistics}
    _warn_of_seen_images(model.config.statistics, data, config.split)
    task = build_task(trained.task)
    clip = config.clip or trained.clip
    if note := find_encoder_warning(clip, data):
        print(note, file=sys.stderr)
    sees = config.scene == "image"
    loaded = load_examples(
        data, config.task, config.split, not sees, images_needed=sees and not isinstance(clip, PrecomputedConfig)
    )
    examples = task.for_testing(loaded.examples, config.scene)[: config.max_examples]
    leakage = {"checked": False, "reason": NOT_ASKED}
    if config.leakage:
        leakage = check_leakage(trained, data, config.split, examples)
    if "spice" in config.extra_metrics:
        require_spice()
    encoder = build_encoder(clip, data, device, texts_needed=not sees)
    check_encoder(encoder, model)
    scenes_of = encode_image_scenes if sees else encode_text_scenes
    scenes = scenes_of(encoder, examples, config.embedding_cache)
    reranker = Reranker(config, clip, task.labels, device) if config.rerank else None
    folder = _folder(config, run)
    model.text_memory, text_memory = build_text_memory(config, trained, model, device)
    decoder = Decoder(model, tokenizer, build_decoding(config, model), config.batch_size, config.scene)
    key = (
        {"checkpoint": RunFolder(run).fingerprint(config.checkpoint)}
        | _key(examples, scenes)
        | decoder.key
        | text_memory
    )
    with PredictionJournal(folder / "predictions.jsonl", key) as journal:
        remove_stale(folder)
        prompts = [e.prompt for e in examples]
        predictions = decoder.predict([e.id for e in examples], scenes.__getitem__, prompts, task.labels, journal)
        if reranker is not None:
            vectors = scenes_of(reranker.encoder, examples, config.embedding_cache)[np.arange(len(examples))]
            predictions = reranker(predictions, vectors)
        scores, scorer = _score(config, task, clip, examples, predictions, device)
        evaluation = Evaluation(
            run, folder, config, trained, data, facts, model.config.noise, examples, predictions, scores, loaded.skipped,
            leakage, scorer, reranker.facts if reranker else None, text_memory,
        )  # fmt: skip
        if evaluation.is_scored_by_its_reranker:
            print(
                "warning: CLIPScore is of the encoder by which the captions were chosen, so it says nothing about them; give "
                "another by clip@clipscore=open_clip clipscore.model=NAME",
                file=sys.stderr,
            )
        _write(evaluation)
        journal.remove()
    return evaluation


def _score(
    config: EvaluateConfig,
    task: Task,
    clip: ClipConfig,
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    device: str,
) -> tuple[Scores, dict[str, Any] | None]:
    """The task's metrics and those asked for beside them; none where nobody published the answers (test-dev)."""
    if not any(example.references for example in examples):
        return Scores(), None
    scores = task.score(examples, predictions, config.num_bootstrap)
    if not config.extra_metrics:
        return scores, None
    scorer = config.clipscore or clip
    if "clipscore" in config.extra_metrics and not isinstance(scorer, OpenClipConfig):
        raise UserError(
            "extra_metrics=clipscore compares captions with images, so an encoder of both is needed; give clip@clipscore=open_clip clipscore.model=NAME"
        )
    extra, encoder = compute_extra_scores(
        config.extra_metrics, examples, [p.text for p in predictions],
        scorer if isinstance(scorer, OpenClipConfig) else None, config.embedding_cache, device,
    )  # fmt: skip
    values, intervals = average_scores(extra, config.num_bootstrap)
    scores.metrics |= values
    scores.intervals |= intervals
    return scores, encoder


def _key(examples: Sequence[Example], scenes: SceneVectors) -> dict[str, str]:
    """What is asked, for a journal: the vectors themselves stand for data and encoder."""
    vectors = (scenes[np.arange(start, min(start + 1024, len(scenes)))] for start in range(0, len(scenes), 1024))
    return {
        "examples": fingerprint(part for e in examples for part in (e.id, e.prompt)),
        "vectors": fingerprint(block.tobytes() for block in vectors),
    }


def _write(evaluation: Evaluation) -> None:
    """All files are complete before any takes its place; the results come last."""
    folder, task = evaluation.folder, evaluation.config.task
    predictions = evaluation.predictions
    files = {
        "results.json": json.dumps(evaluation.results(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "predictions.jsonl": "".join(json.dumps(p.as_dict(), ensure_ascii=False) + "\n" for p in predictions),
    }
    if evaluation.scores.metrics:
        files["scores.jsonl"] = format_score_lines([p.id for p in predictions], evaluation.scores)
    if task in OFFICIAL_FIELDS:
        files["official_results.json"] = json.dumps(format_official_results(task, predictions), ensure_ascii=False)
    with ExitStack() as stack:
        for name, content in files.items():
            temporary = stack.enter_context(atomic_path(folder / name))
            temporary.write_text(content, encoding="utf-8")
            sync(temporary)
        _keep_earlier(folder, json.loads(files["results.json"]))


def _keep_earlier(folder: Path, results: dict[str, Any]) -> None:
    """Sets the results of other settings aside, which would be lost otherwise."""
    path = folder / "results.json"
    if not path.exists():
        return
    try:
        before = _settings(read_json(path))
    except (UserError, KeyError, TypeError):  # damaged, or of another command
        before = {}
    now = _settings(results)
    if before != now:
        differing = sorted(key for key in now if before.get(key) != now[key]) if before else []
        aside = archive_previous([folder / name for name in _FILES], folder / "old")
        print(
            f"note: {folder} held the results of other settings ({', '.join(differing) or 'not known'}), which are set "
            f"aside in {aside}; give output= to keep several",
            file=sys.stderr,
        )


def _settings(results: Any) -> dict[str, Any]:
    """All settings that decide what a results.json says, by name; not what is merely reported besides."""
    train, evaluation = results["config"]["train"], results["config"]["eval"]
    return {
        **{f"train.{key}": value for key, value in train.items() if key not in _PLACES},
        **{key: value for key, value in evaluation.items() if key not in _PLACES | _BESIDES},
    }


def main(config: EvaluateConfig) -> None:
    """Evaluate, write the report, and print the numbers."""
    others = [ComparedEvaluation.read(Path(folder)) for folder in config.compare]
    evaluation = evaluate(config)
    if evaluation.scores.metrics:
        write_report(evaluation, others)
    print(describe_evaluation(evaluation))
