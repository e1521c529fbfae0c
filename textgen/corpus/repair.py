"""Repair of a damaged journal: whole lines are kept, and lines with one wrong bit are restored from their checksums."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import atomic_path, report_write_errors
from close_transfer.core.errors import UserError
from close_transfer.core.journal_lines import JournalLine, format_line, restore_line, scan_lines
from close_transfer.core.locks import hold_lock, locate_lock
from textgen.corpus.journal import REMEDY, make_busy_error, make_header
from textgen.corpus.ledger import BadEvent, Ledger
from textgen.corpus.line_counts import locate_length, read_length, write_length


@dataclass
class Repair:
    """Outcome of a repair.

    Attributes:
        ledger: ledger of the kept events.
        num_restored: number of lines that were restored without a loss.
        dropped: description of each line that was dropped.
        copy: the file as it was; None if it was not damaged, or missing.
    """

    ledger: Ledger = field(default_factory=Ledger)
    num_restored: int = 0
    dropped: list[str] = field(default_factory=list)
    copy: Path | None = None

    @property
    def was_needed(self) -> bool:
        """Return True if the journal was damaged."""
        return bool(self.num_restored or self.dropped)


def repair_journal(path: Path, key: str) -> Repair:
    """Write the journal again without its damaged and repeated lines, and keep the file as it was under another name.

    A request whose answer was dropped is in flight again if the line of its sending is whole. So the next run charges it
    at its reserve before it sends it again.

    Args:
        path: the journal.
        key: key of the corpus.

    Raises:
        UserError: if another process has the journal open, or it belongs to another corpus.
        WriteError: if it cannot be written; it is then unchanged.
    """
    repair = Repair()
    with hold_lock(locate_lock(path), make_busy_error(path.parent)), atomic_path(path) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            for number, event in enumerate(_keep_events(path, key, repair), start=1):
                file.write(format_line(number, event) + "\n")
        with report_write_errors(path):
            if repair.was_needed and path.is_file():
                repair.copy = Path(shutil.copy2(path, _find_free_name(path)))
            locate_length(path).unlink(missing_ok=True)  # before the new journal, which may be shorter
    write_length(path, number)
    return repair


def _read_intact_length(path: Path) -> int:
    try:
        return read_length(path, REMEDY)
    except UserError:  # the file of the length is damaged itself, and is written again
        return 0


def _find_free_name(path: Path) -> Path:
    copy, number = path.with_name(f"{path.name}.damaged"), 1
    while copy.exists():
        number += 1
        copy = path.with_name(f"{path.name}.damaged-{number}")
    return copy


def _keep_events(path: Path, key: str, repair: Repair) -> Iterator[dict[str, Any]]:
    """Yield the header and every event that can be kept, and note the others in `repair`."""
    yield make_header(key)
    seen: set[int] = set()
    damaged: set[int] = set()
    last = 0
    for line in scan_lines(path) if path.is_file() else ():
        last, event = _restore(line, last + 1, repair)
        if event is None:
            damaged.add(last)
            repair.dropped.append(f"line {line.place} does not match its checksum")
        elif last in seen:
            repair.dropped.append(f"line {line.place} repeats number {last}")
        elif last == 1:
            seen.add(last)
            if event.get("key") != key:
                raise UserError(
                    f"{path}: is the journal of another corpus. Give another output=; this one is unchanged"
                )
        else:
            seen.add(last)
            try:
                repair.ledger.apply(event)
            except BadEvent as error:
                repair.dropped.append(f"line {line.place}: {error}")
            else:
                yield event
    length = max(_read_intact_length(path), *seen, *damaged, 0)
    missing = set(range(1, length + 1)) - seen - damaged
    repair.dropped += [f"line {number} is missing" for number in sorted(missing)]


def _restore(line: JournalLine, number: int, repair: Repair) -> tuple[int, dict[str, Any] | None]:
    """Return number and event of a line; `number` is the one that it must have if it is damaged."""
    if line.number is not None:
        return line.number, line.record
    record = restore_line(line.content, number)
    repair.num_restored += record is not None
    return number, record
