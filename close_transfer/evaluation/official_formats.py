"""Answers in the form that evaluation servers take, and the fingerprint of what they are scored against."""

from collections.abc import Sequence
from typing import Any

from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, Prediction

# Task -> the fields of the official results formats of COCO captions and VQA.
OFFICIAL_FIELDS = {
    "captioning": ("image_id", "caption"),
    "captioning-multi": ("image_id", "caption"),
    "vqa": ("question_id", "answer"),
}


def parse_official_id(identifier: str) -> int | str:
    """The id as the official files have it: a whole number where it is written as one."""
    is_whole_number = identifier.isascii() and identifier.isdecimal() and str(int(identifier)) == identifier
    return int(identifier) if is_whole_number else identifier


def format_official_results(task: str, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The list that an evaluation server takes, one entry a prediction.

    Raises:
        UserError: if the task has no official results format.
    """
    if task not in OFFICIAL_FIELDS:
        raise UserError(f"task={task}: has no official results format; {', '.join(OFFICIAL_FIELDS)} have one")
    id_field, answer_field = OFFICIAL_FIELDS[task]
    return [{id_field: parse_official_id(prediction.id), answer_field: prediction.text} for prediction in predictions]


def fingerprint_references(examples: Sequence[Example]) -> str:
    """A fingerprint of what answers are scored against, whatever was shown or asked; 64 hexadecimal digits."""
    return fingerprint("\x1f".join((e.id, *e.references)) for e in sorted(examples, key=lambda e: e.id))
