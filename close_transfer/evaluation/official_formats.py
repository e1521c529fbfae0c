"""Formats of evaluation servers, and the fingerprint of the references."""

from collections.abc import Sequence
from typing import Any

from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction
from close_transfer.tasks import TASKS, get_task


def parse_official_id(identifier: str) -> int | str:
    """Return the id as the official files have it: an integer if it is written as one."""
    is_whole_number = identifier.isascii() and identifier.isdecimal() and str(int(identifier)) == identifier
    return int(identifier) if is_whole_number else identifier


def format_official_results(task: str, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return the list that an evaluation server takes, with one entry per prediction.

    Raises:
        UserError: if the task has no official results format.
    """
    fields = get_task(task).official_fields
    if fields is None:
        others = [name for name, other in TASKS.items() if other.official_fields]
        raise UserError(f"task={task} has no official results format. Give a task that has one: {', '.join(others)}")
    id_field, answer_field = fields
    return [{id_field: parse_official_id(prediction.id), answer_field: prediction.text} for prediction in predictions]


def fingerprint_references(examples: Sequence[Example]) -> str:
    """Return the fingerprint of the examples' ids and references, 64 hexadecimal digits; inputs do not count."""
    return fingerprint("\x1f".join((e.id, *e.references)) for e in sorted(examples, key=lambda e: e.id))
