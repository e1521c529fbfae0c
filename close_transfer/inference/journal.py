"""What a command has answered so far, a line a batch, so that after a kill the same command goes on.

The journal lies beside the output until that is complete. Its first line names everything that decides
the answers; a journal of anything else is set aside. Every line begins with a checksum of the rest. Only
whole batches before the first damaged line are kept, so what is computed together, and with it every
number, is the same as without the kill.
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

_FORMAT = 2
_SYNC_EVERY = 1.0  # seconds; what a failing machine, unlike a kill, can take back


class PredictionJournal:
    """The journal of one output, held by one process at a time.

    Attributes:
        path: the output's path with `.journal` at its end.
        num_batches: how many are in it.
    """

    def __init__(self, output: Path, key: Mapping[str, Any]) -> None:
        """Opens the journal of `output`, or begins one.

        Args:
            output: what the batches will become.
            key: all that decides the answers, by name; JSON values.

        Raises:
            UserError: if another process is at work on this output.
            WriteError: if it cannot be written.
        """
        self.path = output.with_name(output.name + ".journal")
        self._header = {"format": _FORMAT, "key": dict(key)}
        self._synced = time.monotonic()
        with report_write_errors(self.path):
            output.parent.mkdir(parents=True, exist_ok=True)
        refusal = UserError(f"another process is at work on {output}; wait for it, or give another output=")
        with ExitStack() as held:
            held.enter_context(hold_lock(locate_lock(self.path), refusal))
            with report_write_errors(self.path):
                self._set_aside_other()
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            held.callback(os.close, self._handle)
            self._drop_damaged_end()
            remove_stale(output.parent, output.name)
            self._held = held.pop_all()

    def _drop_damaged_end(self) -> None:
        """Count whole batches, and cut off what follows them; begin with a header if there is none."""
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

    def _set_aside_other(self) -> None:
        """Rename a journal of other settings; one whose header was cut short is used."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            first_line = file.readline()
        header = _parse_content(first_line) if _is_whole(first_line) else self._header
        if header == json.loads(json.dumps(self._header)):
            return
        old_path = self.path.with_name(self.path.name + ".old")
        self.path.replace(old_path)
        _logger.warning(
            "note: an unfinished command left %s, but it differed in %s; its answers are set aside in %s, and this one "
            "starts anew",
            self.path,
            _list_differences(header, self._header),
            old_path.name,
        )

    def batches(self) -> Iterator[Any]:
        """What was kept, in order, read as it is asked for."""
        with self.path.open("rb") as file:
            for line in islice(file, 1, 1 + self.num_batches):
                yield _parse_content(line)

    def append(self, batch: Any) -> None:
        """Keeps the answers to the next batch, JSON values.

        Raises:
            WriteError: if the disk is full; what was kept before stays.
        """
        with report_write_errors(self.path):
            content = json.dumps(batch)
            append_line(self._handle, f"{_compute_checksum(content.encode())} {content}")
            self.num_batches += 1
            if time.monotonic() - self._synced > _SYNC_EVERY:
                os.fsync(self._handle)
                self._synced = time.monotonic()

    def remove(self) -> None:
        """Drops the journal, once the output is complete."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "PredictionJournal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def _compute_checksum(content: bytes) -> str:
    """CRC-32 as eight hexadecimal digits: what is guarded against is damage, not malice."""
    return f"{zlib.crc32(content):08x}"


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:8] == _compute_checksum(line[9:-1]).encode()


def _parse_content(line: bytes) -> Any:
    return json.loads(line[9:])


def _list_differences(header: Any, wanted: Mapping[str, Any]) -> str:
    """The names of what differs between two journals."""
    old_key = header.get("key") if isinstance(header, dict) else None
    if not isinstance(old_key, dict) or header.get("format") != wanted["format"]:
        return "its format"
    new_key = json.loads(json.dumps(wanted["key"]))
    return ", ".join(name for name in {**old_key, **new_key} if old_key.get(name) != new_key.get(name))


def fingerprint_inputs(examples: Sequence[Example], scenes: SceneVectors) -> dict[str, str]:
    """Fingerprint prompts and scene vectors for the key of a journal; the vectors stand for data and encoder."""
    vectors = (scenes[np.arange(start, min(start + 1024, len(scenes)))] for start in range(0, len(scenes), 1024))
    return {
        "examples": fingerprint(part for e in examples for part in (e.id, e.prompt)),
        "vectors": fingerprint(block.tobytes() for block in vectors),
    }
