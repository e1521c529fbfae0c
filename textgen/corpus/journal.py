"""Append-only journal of every request sent and every answer received, so that no recorded answer is paid for twice.

Each line is one event with a number and a checksum. It is written before the program continues, so a killed process
loses no event. A thread flushes new lines to the disk, with pauses of 50 ms. A machine failure loses only the events since
the last flush. When the journal is opened again, an incomplete last line is removed, and requests that were in flight,
except those in batches, are charged at their reserve: the most that they can have cost.

The number of lines is in a file next to it, which is written when the journal is opened and closed.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from close_transfer.core.atomic_files import WriteError, append_line, report_write_errors
from close_transfer.core.errors import UserError
from close_transfer.core.journal_lines import DamagedJournal, format_line, read_lines
from close_transfer.core.locks import hold_lock, locate_lock
from textgen.corpus.ledger import BadEvent, Ledger
from textgen.corpus.line_counts import locate_length, read_length, write_length

FORMAT = 2  # version of the events, in the first line
REMEDY = "give action=repair, which counts its lines again"  # for a damaged .length file
SYNC_SECONDS = 0.05  # a flush per event would limit the rate of answers on slow disks


def make_busy_error(folder: Path) -> UserError:
    """Return the error for a corpus that another process works on."""
    return UserError(
        f"another process is at work on {folder}. Wait for it, or give another output= "
        "(action=status can be used meanwhile)"
    )


class RequestJournal:
    """Journal of one corpus, open in one process at a time.

    Attributes:
        path: the file.
        ledger: summary of all events.
        num_durable: number of answers that are flushed to the disk.
        mask: function that removes API keys from an event; it changes nothing until a client sets it.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Open the journal, or create it.

        Args:
            path: the file.
            key: key of the corpus, which the first line records.

        Raises:
            UserError: if another process has it open, it belongs to another corpus, or it is damaged.
            WriteError: if it cannot be written.
        """
        self.path, self.ledger = path, Ledger()
        self.mask: Callable[[Any], Any] = lambda event: event
        with report_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            held.enter_context(hold_lock(locate_lock(path), make_busy_error(path.parent)))
            if not path.exists():
                read_ledger(path)  # refuses a journal that was lost, before an empty one takes its place
            with report_write_errors(path):
                self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            held.callback(os.close, self._handle)
            self._replay(key)
            self._held = held.pop_all()
        self.num_durable = len(self.ledger.answered)
        self._failure: OSError | None = None
        self._dirty, self._closing = threading.Event(), False
        self._syncer = threading.Thread(target=self._sync_regularly, name="journal", daemon=True)
        self._syncer.start()
        # The server may have answered these before the kill, so the most that they can cost is charged.
        for request, sent in self.ledger.find_lost().items():
            lost = {"event": "lost", "id": request, "attempt": sent.attempt, "paid": "reserved"}
            self.append({**lost, **sent.reserved._asdict()})

    def _replay(self, key: str) -> None:
        whole_size = self._num_lines = 0
        for event, end in _read_events(self.path):
            if not whole_size:
                _check_header(self.path, event, key)
            _apply_event(self.path, self.ledger, event)
            whole_size = end
            self._num_lines += 1
        os.ftruncate(self._handle, whole_size)
        if not whole_size:
            with report_write_errors(self.path):
                self._write(make_header(key))
        self._note_length()

    def _note_length(self) -> None:
        with report_write_errors(self.path):
            os.fsync(self._handle)  # first: after a machine failure the journal must not be shorter than noted
        with suppress(WriteError):  # on a full disk an earlier length stays, which is true too
            write_length(self.path, self._num_lines)

    def _write(self, event: Mapping[str, Any]) -> None:
        append_line(self._handle, format_line(self._num_lines + 1, event))
        self._num_lines += 1

    def append(self, event: Mapping[str, Any]) -> None:
        """Append an event; once this returns, a kill of the process cannot lose it.

        Raises:
            WriteError: if it cannot be written, or an earlier flush failed; events that were flushed are intact.
        """
        event = self.mask(dict(event))
        with report_write_errors(self.path):
            if self._failure is not None:
                raise self._failure
            self._write({**event, "time": round(time.time(), 3)})
        self.ledger.apply(event)
        self._dirty.set()

    def _sync_regularly(self) -> None:
        while not self._closing:
            self._dirty.wait()
            self._dirty.clear()
            num = len(self.ledger.answered)  # before the flush: later answers may not be in it
            try:
                os.fsync(self._handle)
            except OSError as error:
                self._failure = error  # the next `append` raises it in the main thread
                return
            self.num_durable = num
            time.sleep(SYNC_SECONDS)

    def close(self) -> None:
        """Flush the last events and close the file."""
        self._closing = True
        self._dirty.set()
        self._syncer.join()
        with self._held:
            self._note_length()
            self.num_durable = len(self.ledger.answered)

    def __enter__(self) -> "RequestJournal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make_header(key: str) -> dict[str, Any]:
    """Return the event of the first line, which names the corpus by its key."""
    return {"event": "corpus", "format": FORMAT, "key": key}


def _check_header(path: Path, event: Mapping[str, Any], key: str) -> None:
    if event.get("event") != "corpus" or event.get("format") != FORMAT or "key" not in event:
        raise make_damage_error(path, "its first line does not name its corpus")
    if event["key"] != key:
        raise UserError(f"{path}: is the journal of another corpus. Give another output=; this one is left unchanged")


def make_damage_error(path: Path, problem: str) -> UserError:
    """Return the error for a journal that is not as this program wrote it."""
    return UserError(
        f"{path}: is damaged ({problem}). It is the only copy of the answers, and it was not changed. Restore it from a "
        "copy, or give action=repair, which drops what is damaged, so that only the requests whose answers were there are "
        "sent again"
    )


def _read_events(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the complete events of a journal, each with the byte position of its end; skip an incomplete last line.

    Raises:
        UserError: if a line is damaged, missing or repeated, or the journal is missing although it has a length.
    """
    # The length first, because another process may create the journal or add lines meanwhile.
    length, num = read_length(path, REMEDY), 0
    try:
        for line in read_lines(path) if path.is_file() else ():
            yield line
            num += 1
    except DamagedJournal as damage:
        raise make_damage_error(path, str(damage)) from None
    if num < length:
        raise make_damage_error(path, f"it has {num:,} lines, and {locate_length(path).name} counts {length:,}")


def read_ledger(path: Path) -> Ledger:
    """Read the ledger of a journal, which another process may be writing.

    Raises:
        UserError: if it is damaged.
    """
    ledger = Ledger()
    for event, _ in _read_events(path):
        _apply_event(path, ledger, event)
    return ledger


def _apply_event(path: Path, ledger: Ledger, event: Mapping[str, Any]) -> None:
    try:
        ledger.apply(event)
    except BadEvent as error:
        raise make_damage_error(path, str(error)) from error


def read_answers(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers of a journal in the order they came; of several answers to a request, the first.

    Raises:
        UserError: if it is damaged.
    """
    answered: set[str] = set()
    for event, _ in _read_events(path):
        if event.get("event") == "answer" and event["id"] not in answered:
            answered.add(event["id"])
            yield event
