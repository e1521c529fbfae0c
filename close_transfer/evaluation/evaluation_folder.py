"""The folder of an evaluation: predictions, scores and results, complete or not there at all."""

import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from close_transfer.core.archive import archive_previous
from close_transfer.core.atomic_files import atomic_path, read_json, sync
from close_transfer.core.errors import UserError
from close_transfer.evaluation.official_formats import OFFICIAL_FIELDS, format_official_results, format_score_lines
from close_transfer.evaluation.record import Evaluation

_logger = logging.getLogger(__name__)

# What an evaluation leaves; the results, which make it complete, are the last.
_FILES = ("report.html", "official_results.json", "scores.jsonl", "predictions.jsonl", "results.json")
_PLACES = {"output", "resume", "run", "runs", "device", "embedding_cache", "base_model"}
_BESIDES = {"batch_size", "compare", "leakage", "num_bootstrap", "extra_metrics", "clipscore"}


def write_evaluation(evaluation: Evaluation) -> None:
    """Write all files of an evaluation. All are complete before any takes its place; the results come last.

    The results of other settings that are there are set aside.

    Raises:
        WriteError: if one cannot be written; the earlier ones are then as they were.
    """
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
        _logger.warning(
            "note: %s held the results of other settings (%s), which are set aside in %s; give output= to keep several",
            folder,
            ", ".join(differing) or "not known",
            aside,
        )


def _settings(results: Any) -> dict[str, Any]:
    """All settings that decide what a results.json says, by name; not what is merely reported besides."""
    train, evaluation = results["config"]["train"], results["config"]["eval"]
    return {
        **{f"train.{key}": value for key, value in train.items() if key not in _PLACES},
        **{key: value for key, value in evaluation.items() if key not in _PLACES | _BESIDES},
    }
