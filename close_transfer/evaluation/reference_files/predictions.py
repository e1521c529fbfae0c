"""Predictions of any system.

Predictions are not normalized, because the official scorers treat spaces and case in their own way.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.readers.records import field, verbatim
from close_transfer.evaluation.reference_files.entries import (
    EntryErrors,
    explain_wrong_kind,
    find_field,
    index_by_id,
    parse_entries,
    read_entries,
)
from close_transfer.evaluation.reference_files.ids import choose_ids, list_id_fields, read_ids
from close_transfer.tasks import get_task

_TEXT_FIELDS = ("prediction", "caption", "answer")  # this project's name first, then those of the datasets


@dataclass(frozen=True)
class Predictions:
    """Predictions to score.

    Attributes:
        text_by_id: predicted texts, in the order of the file.
        num_repeated: number of duplicates left out.
        notes: facts about the file for the user, one sentence each.
    """

    text_by_id: dict[str, str]
    num_repeated: int
    notes: tuple[str, ...]


def read_predictions(config: ScorePredictionsConfig, known_ids: Collection[str] = ()) -> Predictions:
    """Read predictions.

    Args:
        config: settings of the scoring.
        known_ids: ids of the references, which decide among several fields that may hold the ids.

    Raises:
        UserError: names file, entry and field of what cannot be used; also for duplicate ids.
    """
    path, task = Path(config.predictions), get_task(config.task.name)
    id_fields = (config.id_field,) if config.id_field else list_id_fields(task.reads)
    text_fields = (config.prediction_field,) if config.prediction_field else _TEXT_FIELDS

    def parse(record: Any) -> tuple[dict[str, str], str]:
        find_field(record, id_fields, ". Give the field's name as id_field=NAME")
        text_name = find_field(record, text_fields, ". Give the field's name as prediction_field=NAME")
        return read_ids(record, id_fields), verbatim(field(record, text_name), text_name)

    with explain_wrong_kind(path, "predictions", task):
        rows = parse_entries(read_entries(path, "predictions"), parse, EntryErrors(path))
    ids, notes = choose_ids([ids for ids, _ in rows], id_fields, "predictions", known_ids)
    texts = zip(ids, (text for _, text in rows), strict=True)
    return Predictions(*index_by_id(texts, path, "predictions", config.on_duplicate), tuple(notes))
