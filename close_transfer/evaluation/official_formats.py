"""Answers in the forms that others take: evaluation servers, and a comparison of two systems."""

import json
from collections.abc import Sequence
from typing import Any

from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.bootstrap import Scores
from close_transfer.tasks import TASKS, get_task


def parse_official_id(identifier: str) -> int | str:
    """The id as the official files have it: a whole number where it is written as one."""
    is_whole_number = identifier.isascii() and identifier.isdecimal() and str(int(identifier)) == identifier
    return int(identifier) if is_whole_number else identifier


def format_official_results(task: str, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The list that an evaluation server takes, one entry a prediction.

    Raises:
        UserError: if the task has no official results format.
    """
    fields = get_task(task).official_fields
    if fields is None:
        others = [name for name, other in TASKS.items() if other.official_fields]
        raise UserError(f"task={task}: has no official results format; {', '.join(others)} have one")
    id_field, answer_field = fields
    return [{id_field: parse_official_id(prediction.id), answer_field: prediction.text} for prediction in predictions]


def format_score_lines(ids: Sequence[str], scores: Scores) -> str:
    """The content of scores.jsonl: each example's id and its leading metric, in the examples' order."""
    rows = zip(ids, scores.per_example, strict=True)
    return "".join(
        json.dumps({"id": example_id, scores.leading: score}, ensure_ascii=False) + "\n" for example_id, score in rows
    )


def fingerprint_references(examples: Sequence[Example]) -> str:
    """A fingerprint of what answers are scored against, whatever was shown or asked; 64 hexadecimal digits."""
    return fingerprint("\x1f".join((e.id, *e.references)) for e in sorted(examples, key=lambda e: e.id))
