"""Output of prediction: a JSON line per answer, and a file of the inputs that could not be read."""

import filecmp
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from close_transfer.core.archive import archive_previous
from close_transfer.core.atomic_files import atomic_path, sync, write_text
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.inference.journal import PredictionJournal, parse_prediction
from close_transfer.inference.prediction_inputs import PredictionInputs, Unreadable

_logger = logging.getLogger(__name__)

_NUM_SHOWN, _NUM_UNREADABLE_SHOWN = 3, 10  # lines that a terminal shows; the files hold all


@dataclass(frozen=True)
class PredictionSummary:
    """Summary of a prediction for the terminal.

    Attributes:
        output: file of the answers.
        num_predictions: number of answers in it.
        first_lines: the first answers, as "id: text".
        unreadable_output: file of the inputs that could not be read; it does not exist if all could be.
        num_unreadable: number of inputs that could not be read.
        first_unreadable: the first of them, with reasons.
        num_other: number of files that were ignored, because their names have no image extension.
    """

    output: Path
    num_predictions: int
    first_lines: tuple[str, ...]
    unreadable_output: Path
    num_unreadable: int
    first_unreadable: tuple[Unreadable, ...]
    num_other: int


def write_predictions(inputs: PredictionInputs, output: Path, journal: PredictionJournal) -> PredictionSummary:
    """Write the output from the complete journal, one batch at a time.

    Other answers in the output file are moved to a backup folder first.

    Args:
        inputs: inputs that were answered.
        output: path of the output.
        journal: journal with the answers to all inputs.

    Raises:
        UserError: if no input could be read; then the output is not written.
        WriteError: if a file cannot be written.
    """
    unreadable_output = output.with_name(output.name + ".unreadable.jsonl")
    first_lines: list[str] = []
    num_predictions = 0
    unreadable = [*inputs.unreadable]
    with atomic_path(output) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            for _, batch in journal.read_batches():
                unreadable += batch["unreadable"]
                num_predictions += len(batch["predictions"])
                for prediction in map(parse_prediction, batch["predictions"]):
                    file.write(_format_line(prediction))
                    if len(first_lines) < _NUM_SHOWN:
                        first_lines.append(f"{prediction.id}: {prediction.text}")
        if num_predictions:
            _archive_earlier(output, temporary, unreadable_output)
        # Before the output is renamed into place: a complete output always has its complete list next to it.
        if unreadable:
            write_text(unreadable_output, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in unreadable))
        else:
            unreadable_output.unlink(missing_ok=True)
        if not num_predictions:
            journal.remove()
            raise _build_empty_error(inputs, unreadable)
    return PredictionSummary(
        output,
        num_predictions,
        tuple(first_lines),
        unreadable_output,
        len(unreadable),
        tuple(unreadable[:_NUM_UNREADABLE_SHOWN]),
        inputs.num_other,
    )


def stream_predictions(
    inputs: PredictionInputs, batches: Iterable[tuple[Sequence[Prediction], Sequence[Unreadable]]], stream: TextIO
) -> None:
    """Write each answer to a stream as soon as its batch is answered, and log the inputs that could not be read.

    Args:
        inputs: inputs that are answered.
        batches: answers and unreadable inputs of each batch.
        stream: open text file.

    Raises:
        UserError: if no input could be read.
    """
    num_predictions, unreadable = 0, [*inputs.unreadable]
    for predictions, unreadable_inputs in batches:
        stream.write("".join(map(_format_line, predictions)))
        stream.flush()
        num_predictions += len(predictions)
        unreadable += unreadable_inputs
    if not num_predictions:
        raise _build_empty_error(inputs, unreadable)
    for entry in unreadable:
        _logger.warning("note: {id} could not be read: {reason}".format(**entry))


def _format_line(prediction: Prediction) -> str:
    return json.dumps(prediction.as_dict(), ensure_ascii=False) + "\n"


def _build_empty_error(inputs: PredictionInputs, unreadable: Sequence[Unreadable]) -> UserError:
    reason = "{id}: {reason}".format(**unreadable[0]) if unreadable else "there are no rows"
    return UserError(f"none of {inputs.num:,} inputs could be read ({reason}). Give other files")


def _archive_earlier(output: Path, new_output: Path, unreadable_output: Path) -> None:
    """Move an earlier output and its list of unreadable inputs to a backup folder, unless it equals `new_output`."""
    if not output.is_file() or filecmp.cmp(output, new_output, shallow=False):
        return
    sync(new_output)  # the earlier output moves only once the new one is safely on the disk
    archive = archive_previous([unreadable_output, output], output.with_name(f"{output.name}.old"))
    _logger.warning("note: %s held other answers, which were moved to %s", output, archive)
