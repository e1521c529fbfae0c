"""Journal of the answers so far, so that the same command resumes after a kill.

The journal is next to the output until the output is complete. Its first line names everything that the answers
depend on, and a journal with another first line is renamed. Each further line is a batch. Every line begins with a
checksum of the rest. Only whole batches before the first damaged line are kept, so the batches, and with them all
numbers, are the same as without the kill.
"""

import json
import logging
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from close_transfer.core.atomic_files import append_line, fingerprint, remove_stale, report_write_errors
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from close_transfer.data.examples import Example
from close_transfer.encoders.embeddings import SceneVectors

_logger = logging.getLogger(__name__)

_FORMAT = 2  # layout of the lines; a journal of another layout is renamed
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
        self.num_batches, size = -1, 0  # the header is not a batch
        with self.path.open("rb") as file:
            for line in file:
                if not _is_whole(line):
                    break  # a kill cut it short, or it was damaged
                self.num_batches += 1
                size += len(line)
        os.ftruncate(self._handle, size)
        if self.num_batches < 0:
            self.append(self._header)

    def _rename_other(self) -> None:
        """Rename a journal of other answers; one whose header was cut short is used."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            first_line = file.readline()
        header = _parse_content(first_line) if _is_whole(first_line) else self._header
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

    def read_batches(self) -> Iterator[Any]:
        """Yield the batches in order, one at a time, because all of them may not fit into memory."""
        with self.path.open("rb") as file:
            for line in islice(file, 1, 1 + self.num_batches):
                yield _parse_content(line)

    def append(self, batch: Any) -> None:
        """Add the next batch.

        Args:
            batch: answers as JSON values.

        Raises:
            WriteError: if the disk is full; batches that were added before stay.
        """
        with report_write_errors(self.path):
            content = json.dumps(batch)
            append_line(self._handle, f"{_compute_checksum(content.encode())} {content}")
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


def _compute_checksum(content: bytes) -> str:
    """Return the CRC-32 in eight hexadecimal digits, which guards against damage, not against malice."""
    return f"{zlib.crc32(content):08x}"


def _is_whole(line: bytes) -> bool:
    # A line is 8 digits, a space and the content.
    return line.endswith(b"\n") and line[:8] == _compute_checksum(line[9:-1]).encode()


def _parse_content(line: bytes) -> Any:
    return json.loads(line[9:])


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
