"""Folder of an evaluation: predictions, scores and results, written completely or not at all."""

import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.archive import archive_previous
from close_transfer.core.atomic_files import atomic_path, sync
from close_transfer.core.errors import UserError
from close_transfer.core.roles import Role, drop_settings
from close_transfer.evaluation.official_formats import format_official_results
from close_transfer.evaluation.record import Evaluation
from close_transfer.evaluation.results import Results, read_results
from close_transfer.evaluation.score_lines import format_score_lines
from close_transfer.tasks import get_task

_logger = logging.getLogger(__name__)

# Files of an evaluation. results.json is last, because it marks the folder as complete.
_FILES = ("report.html", "official_results.json", "scores.jsonl", "predictions.jsonl", "results.json")


def write_evaluation(evaluation: Evaluation) -> None:
    """Write all files of an evaluation; earlier results of other settings are archived.

    Each file is complete before the first is moved into place, and results.json is moved last.

    Raises:
        WriteError: if a file cannot be written; earlier files are then unchanged.
    """
    folder, task = evaluation.folder, evaluation.config.task
    predictions, results = evaluation.predictions, evaluation.build_results()
    files = {
        "results.json": json.dumps(results.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "predictions.jsonl": "".join(json.dumps(p.as_dict(), ensure_ascii=False) + "\n" for p in predictions),
    }
    if evaluation.scores.metrics:
        files["scores.jsonl"] = format_score_lines([p.id for p in predictions], evaluation.scores)
    if get_task(task).official_fields is not None:
        files["official_results.json"] = json.dumps(format_official_results(task, predictions), ensure_ascii=False)
    with ExitStack() as stack:
        for name, content in files.items():
            temporary = stack.enter_context(atomic_path(folder / name))
            temporary.write_text(content, encoding="utf-8")
            sync(temporary)
        _archive_other_results(folder, results)


def _archive_other_results(folder: Path, results: Results) -> None:
    """Archive earlier results of other settings, which would be overwritten."""
    path = folder / "results.json"
    if not path.exists():
        return
    try:
        earlier = _collect_settings(read_results(path, "output", scores_needed=False))
    except UserError:  # damaged, so its settings are unknown
        earlier = {}
    current = _collect_settings(results)
    if earlier != current:
        differing = sorted(key for key in current if earlier.get(key) != current[key]) if earlier else []
        archive = archive_previous([folder / name for name in _FILES], folder / "old")
        _logger.warning(
            "note: %s held results of other settings (%s). They were moved to %s; give output= to keep several",
            folder,
            ", ".join(differing) or "not known",
            archive,
        )


def _collect_settings(results: Results) -> dict[str, Any]:
    """Return the settings that decide the results, by name; empty for results of another command."""
    free = (Role.LOCATION, Role.REPORTING, Role.THROUGHPUT)
    train = drop_settings(TrainConfig, results.config.get("train") or {}, *free)
    evaluation = drop_settings(EvaluateConfig, results.config.get("eval") or {}, *free)
    return {f"train.{key}": value for key, value in train.items()} | evaluation
