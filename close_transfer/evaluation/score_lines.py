"""The lines of scores.jsonl: the leading metric of every example, for paired comparisons."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import key_field, read_lines
from close_transfer.metrics.bootstrap import Scores


def format_score_lines(ids: Sequence[str], scores: Scores) -> str:
    """The content of scores.jsonl: each example's id and its leading metric, in the examples' order."""
    rows = zip(ids, scores.per_example, strict=True)
    return "".join(
        json.dumps({"id": example_id, scores.leading: score}, ensure_ascii=False) + "\n" for example_id, score in rows
    )


def read_scores(folder: Path) -> tuple[str, dict[str, float]]:
    """The leading metric's name, and its value by example id.

    Raises:
        UserError: if there are none, or the file is damaged.
    """
    path = folder / "scores.jsonl"
    if not path.is_file():
        raise UserError(
            f"compare={folder}: there is no scores.jsonl, which holds the score of every example; evaluate or score that system again"
        )
    scores: dict[str, float] = {}
    metric = ""
    for line, record in read_lines(path, "compare"):
        try:
            example_id = key_field(record, "id")
            (metric_here,) = (key for key in record if key != "id")
            value = record[metric_here]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise RecordError(f"field {metric_here!r} is no number")
            if example_id in scores or metric_here != (metric or metric_here):
                raise RecordError("the id stands there twice, or the metric changes")
        except (RecordError, ValueError) as fault:
            raise UserError(f"{path}, line {line}: {fault}; the file is damaged, so evaluate again") from None
        metric, scores[example_id] = metric_here, float(value)
    if not scores:
        raise UserError(f"{path}: is empty; evaluate again")
    return metric, scores
