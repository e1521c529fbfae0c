"""Reader and writer of scores.jsonl: the leading metric of every example, for paired comparisons."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import key_field, read_lines
from close_transfer.metrics.bootstrap import Scores


def format_score_lines(ids: Sequence[str], scores: Scores) -> str:
    """Return the content of scores.jsonl: id and leading metric of each example, one per line, in order."""
    rows = zip(ids, scores.per_example, strict=True)
    return "".join(
        json.dumps({"id": example_id, scores.leading: score}, ensure_ascii=False) + "\n" for example_id, score in rows
    )


def read_scores(folder: Path) -> tuple[str, dict[str, float]]:
    """Read the scores of an evaluation.

    Returns:
        The name of the leading metric, and its value by example id.

    Raises:
        UserError: if the file is missing, empty or damaged.
    """
    path = folder / "scores.jsonl"
    if not path.is_file():
        raise UserError(
            f"compare={folder}: it has no scores.jsonl, which holds the score of every example. Evaluate or score that system again"
        )
    scores: dict[str, float] = {}
    metric = ""
    for line, record in read_lines(path, "compare"):
        try:
            example_id = key_field(record, "id")
            (line_metric,) = (key for key in record if key != "id")
            value = record[line_metric]
            # JSON's true and false are integers in Python.
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise RecordError(f"field {line_metric!r} is not a number")
            if example_id in scores or line_metric != (metric or line_metric):
                raise RecordError("the id is a duplicate, or the metric changes")
        except (RecordError, ValueError) as error:
            raise UserError(f"{path}, line {line}: {error}. The file is damaged: evaluate again") from None
        metric, scores[example_id] = line_metric, float(value)
    if not scores:
        raise UserError(f"{path} is empty. Evaluate again")
    return metric, scores
