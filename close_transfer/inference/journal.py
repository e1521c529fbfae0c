"""Journal of the answers so far, so that the same command resumes after a kill.

The journal is next to the output until the output is complete. Its first line names everything that the answers
depend on, and a journal with another first line is renamed. Each further line is a batch with the position of its first
input. Every line has a number and a checksum. Only whole batches before the first damaged, missing or repeated line are
kept, so the batches, and with them all numbers, are the same as without the kill.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from close_transfer.core.atomic_files import append_line, fingerprint, remove_stale, report_write_errors
from close_transfer.core.errors import UserError
from close_transfer.core.journal_lines import DamagedJournal, format_line, read_lines
from close_transfer.core.locks import hold_lock, locate_lock
from close_transfer.data.examples import Example, Prediction
from close_transfer.encoders.embeddings import SceneVectors

_logger = logging.getLogger(__name__)

_FORMAT = 3  # layout of the lines; a journal of another layout is renamed
_SYNC_EVERY = 1.0  # seconds; a kill loses nothing, but a crash of the machine loses what was not flushed to the disk


class PredictionJournal:
    """The journal of one output, held by one process at a time.

    Attributes:
        path: path of the output with `.journal` at its end.
        num_batches: number of batches in the journal.
    """

    def __init__(self, output: Path, key: Mapping[str, Any]) -> None:
        """Open the journal of `output`, or start a new one.

        Args:
            output: path of the file that the answers will be written to.
            key: everything that the answers depend on, by name; JSON values.

        Raises:
            UserError: if another process is writing this output.
            WriteError: if the journal cannot be written.
        """
        self.path = output.with_name(output.name + ".journal")
        self._header = {"format": _FORMAT, "key": dict(key)}
        self._synced = time.monotonic()
        with report_write_errors(self.path):
            output.parent.mkdir(parents=True, exist_ok=True)
        refusal = UserError(f"output={output}: another process is writing it. Wait for it, or give another output=")
        with ExitStack() as resources:
            # The lock comes first: only its holder may rename or cut the journal.
            resources.enter_context(hold_lock(locate_lock(self.path), refusal))
            with report_write_errors(self.path):
                self._rename_other()
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            resources.callback(os.close, self._handle)
            self._drop_damaged_end()
            remove_stale(output.parent, output.name)
            self._resources = resources.pop_all()

    def _drop_damaged_end(self) -> None:
        """Count whole batches, and cut off what follows them; write the header if there is none."""
        self.num_batches, size, last_start = -1, 0, -1  # the header is not a batch
        for record, end in _read_whole(self.path):
            if self.num_batches >= 0:
                if not _is_batch_after(record, last_start):
                    break
                last_start = record["start"]
            self.num_batches += 1
            size = end
        os.ftruncate(self._handle, size)
        if self.num_batches < 0:
            self._write(self._header)

    def _rename_other(self) -> None:
        """Rename a journal of other answers; one whose header was cut short is used."""
        if not self.path.exists():
            return
        header, _ = next(_read_whole(self.path), (self._header, 0))
        # Compared as JSON, which turns tuples into lists and keys into strings.
        if header == json.loads(json.dumps(self._header)):
            return
        old_path = self.path.with_name(self.path.name + ".old")
        self.path.replace(old_path)
        _logger.warning(
            "note: an unfinished command left %s, but it differed in %s. Its answers were moved to %s, and this command "
            "starts from the beginning",
            self.path,
            _list_differences(header, self._header),
            old_path.name,
        )

    def read_batches(self) -> Iterator[tuple[int, Any]]:
        """Yield the start of each batch and its answers in order, one at a time, because all may not fit into memory."""
        for record, _ in islice(_read_whole(self.path), 1, 1 + self.num_batches):
            yield record["start"], record["answers"]

    def append(self, start: int, answers: Any) -> None:
        """Add the next batch.

        Args:
            start: position of its first input in the order of the batches.
            answers: answers as JSON values.

        Raises:
            WriteError: if the disk is full; batches that were added before stay.
        """
        self._write({"start": start, "answers": answers})

    def _write(self, record: Mapping[str, Any]) -> None:
        with report_write_errors(self.path):
            append_line(self._handle, format_line(self.num_batches + 2, record))  # counted from 1, with the header
            self.num_batches += 1
            if time.monotonic() - self._synced > _SYNC_EVERY:
                os.fsync(self._handle)
                self._synced = time.monotonic()

    def remove(self) -> None:
        """Remove the file, once the output is complete."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "PredictionJournal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()


def _read_whole(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the records before the first damage, each with the position of its end; their answers can be given again."""
    with suppress(DamagedJournal):
        yield from read_lines(path)


def _is_batch_after(record: Mapping[str, Any], last_start: int) -> bool:
    start = record.get("start")
    return isinstance(start, int) and start > last_start and "answers" in record


def _list_differences(header: Any, wanted: Mapping[str, Any]) -> str:
    """Return the names in the key whose values differ, as text; "its format" if the keys cannot be compared."""
    old_key = header.get("key") if isinstance(header, dict) else None
    if not isinstance(old_key, dict) or header.get("format") != wanted["format"]:
        return "its format"
    new_key = json.loads(json.dumps(wanted["key"]))
    return ", ".join(name for name in {**old_key, **new_key} if old_key.get(name) != new_key.get(name))


def fingerprint_inputs(examples: Sequence[Example], scenes: SceneVectors) -> dict[str, str]:
    """Fingerprint prompts and scene vectors for the key of a journal; the vectors stand for data and encoder."""
    # In blocks, because the vectors may be larger than memory.
    vectors = (scenes[np.arange(start, min(start + 1024, len(scenes)))] for start in range(0, len(scenes), 1024))
    return {
        "examples": fingerprint(part for e in examples for part in (e.id, e.prompt)),
        "vectors": fingerprint(block.tobytes() for block in vectors),
    }


def parse_prediction(fields: dict[str, Any]) -> Prediction:
    """Return the prediction whose fields a journal holds; JSON keeps floats exactly."""
    # JSON has no tuples, and `Prediction` holds no lists.
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return Prediction(**values)
