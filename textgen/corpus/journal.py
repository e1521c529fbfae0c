"""The append-only record of every request sent and every answer got, so that nothing is paid for twice.

Each line is one event. It is handed to the operating system before the program goes on, so a killed process loses
none; a thread flushes lines to the disk at most every 50 ms, so a failing machine loses no more than that. An answer is
counted once it is flushed. Opening the journal again takes a line that a kill cut short off its end, and charges what
was under way at the price that was reserved for it.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from close_transfer.core.atomic_files import append_line, damaged_file_error, report_write_errors
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from textgen.corpus.ledger import Ledger

FORMAT = 1
SYNC_SECONDS = 0.05


def find_other_holder(folder: Path) -> UserError:
    """That two processes cannot work on one corpus."""
    return UserError(
        f"another process is at work on {folder}; wait for it, or give another output= "
        "(action=status may look on meanwhile)"
    )


class RequestJournal:
    """The journal of one corpus, held by one process at a time.

    Attributes:
        path: the file.
        ledger: what all events amount to.
        num_durable: answers that are flushed to the disk.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Opens the journal, or begins one.

        Args:
            path: the file.
            key: of the corpus, which the first line says.

        Raises:
            UserError: if another process holds it, it is another corpus's, or it is damaged.
            WriteError: if it cannot be written.
        """
        self.path, self.ledger = path, Ledger()
        with report_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            held.enter_context(hold_lock(locate_lock(path), find_other_holder(path.parent)))
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
        for request, sent in self.ledger.lost().items():
            lost = {"event": "lost", "id": request, "attempt": sent.attempt, "paid": "reserved"}
            self.append({**lost, **sent.reserved._asdict()})

    def _replay(self, key: str) -> None:
        whole_size = 0
        for event, end in _read_events(self.path):
            if not whole_size:
                _check_header(self.path, event, key)
            _apply_event(self.path, self.ledger, event)
            whole_size = end
        os.ftruncate(self._handle, whole_size)
        if not whole_size:
            with report_write_errors(self.path):
                append_line(self._handle, json.dumps({"event": "corpus", "format": FORMAT, "key": key}))

    def append(self, event: Mapping[str, Any]) -> None:
        """Keeps an event: when this returns, it survives the process.

        Raises:
            WriteError: if the disk is full; what was kept before stays.
        """
        with report_write_errors(self.path):
            if self._failure is not None:
                raise self._failure
            append_line(self._handle, json.dumps({**event, "time": round(time.time(), 3)}, ensure_ascii=False))
        self.ledger.apply(event)
        self._dirty.set()

    def _sync_regularly(self) -> None:
        while not self._closing:
            self._dirty.wait()
            self._dirty.clear()
            num = len(self.ledger.answered)
            try:
                os.fsync(self._handle)
            except OSError as error:
                self._failure = error
                return
            self.num_durable = num
            time.sleep(SYNC_SECONDS)

    def close(self) -> None:
        """Flushes what is left."""
        self._closing = True
        self._dirty.set()
        self._syncer.join()
        with report_write_errors(self.path):
            os.fsync(self._handle)
        self.num_durable = len(self.ledger.answered)
        self._held.close()

    def __enter__(self) -> "RequestJournal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_header(path: Path, event: Mapping[str, Any], key: str) -> None:
    if event.get("event") != "corpus" or event.get("format") != FORMAT:
        raise damaged_file_error(path, "its first line does not say whose it is")
    if event["key"] != key:
        raise UserError(
            f"{path}: is the journal of another corpus; give another output=, and this one keeps what it has"
        )


def _read_events(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The whole events of a journal, each with the position of its end; a torn end is left out.

    Raises:
        UserError: if a line in the middle is damaged.
    """
    torn, end = 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):  # its end, at the moment; another process may be writing on
                return
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict) or "event" not in event:
                torn = torn or number
                continue
            if torn:  # a kill leaves nothing behind a torn line
                raise damaged_file_error(path, f"line {torn} is no event")
            end += len(line)
            yield event, end


def read_ledger(path: Path) -> Ledger:
    """What a journal says at the moment; another process may be writing it.

    Raises:
        UserError: if it is damaged.
    """
    ledger = Ledger()
    if path.is_file():
        for event, _ in _read_events(path):
            _apply_event(path, ledger, event)
    return ledger


def _apply_event(path: Path, ledger: Ledger, event: Mapping[str, Any]) -> None:
    try:
        ledger.apply(event)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged_file_error(
            path, f"an event lacks what it should say: {json.dumps(event)[:80]} ({error!r})"
        ) from error


def read_answers(path: Path) -> Iterator[dict[str, Any]]:
    """The answers of a journal, in the order they came.

    Raises:
        UserError: if it is damaged.
    """
    answered: set[str] = set()
    for event, _ in _read_events(path):
        if event["event"] == "answer" and event["id"] not in answered:
            answered.add(event["id"])
            yield event
