"""Entries of files that are scored: which can be used, and what each id stands for."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from close_transfer.config.score_predictions import OnDuplicate
from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import entries, line_format, read_document, read_lines
from close_transfer.evaluation.reference_files.file_formats import suggest_kind
from close_transfer.tasks import Task

_NUM_SHOWN = 5

T = TypeVar("T")


class Entries(RecordErrors):
    """Errors of a file that is scored: none of them is skipped."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "error", "entries")
        self._reasons: set[str] = set()

    def add(self, where: str, fault: RecordError) -> None:
        super().add(where, fault)
        if len(self._reasons) < 2:  # only whether all are alike is asked
            self._reasons.add(str(fault))

    def settle(self, num_usable: int) -> Counter[str]:
        if self.count > 1 and not num_usable and len(self._reasons) == 1:  # it is not the entries that are wrong
            raise UserError(f"{self._shown[0]} (the same in all {self.count:,} entries)")
        if self.count:
            num_hidden = self.count - len(self._shown)
            lines = [*self._shown, *([f"and {num_hidden} more such entries"] if num_hidden else [])]
            raise UserError("\n".join(lines) + "\nmend the file, or take those entries out of it")
        if not num_usable:
            raise UserError(f"{self._path}: there is no entry to score in it; give another file")
        return Counter()


@contextmanager
def count_by_kind(path: Path, setting: str, task: type[Task]) -> Iterator[None]:
    """Of a file that cannot be used and is known to be of another kind, only that is said."""
    try:
        yield
    except UserError as error:
        raise suggest_kind(path, setting, task) or error from None


def format_first(ids: Iterable[str]) -> str:
    """The first ids, for a message."""
    shown = list(ids)
    return ", ".join(shown[:_NUM_SHOWN]) + (", ..." if len(shown) > _NUM_SHOWN else "")


def read_entries(path: Path, setting: str) -> Iterator[tuple[str, Any]]:
    """(place, record) of a JSON list or of JSON lines."""
    if path.name.removesuffix(".gz").endswith(".json"):
        for number, record in enumerate(entries(read_document(path, setting), None, path, setting)):
            yield f"entry [{number}]", record
    elif line_format(path, setting) != ".jsonl":
        raise UserError(f"{setting}={path}: allowed are .json and .jsonl, each also with .gz")
    else:
        for line, record in read_lines(path, setting):
            yield f"line {line}", record


def parse_entries(rows: Iterable[tuple[str, Any]], parse: Callable[[Any], T], faults: RecordErrors) -> list[T]:
    """What `parse` makes of every record; those it refuses are faults."""
    parsed = []
    for where, record in rows:
        try:
            parsed.append(parse(record))
        except RecordError as fault:
            faults.add(where, fault)
    faults.settle(len(parsed))
    return parsed


def reject_duplicates(
    rows: Iterable[tuple[str, T]], path: Path, setting: str, on_duplicate: OnDuplicate
) -> tuple[dict[str, T], int]:
    """What each id stands for, in the order of the file, and how many entries were left out.

    Raises:
        UserError: if an id comes more than once, unless told which of its entries counts.
    """
    value_by_id: dict[str, T] = {}
    repeated: Counter[str] = Counter()
    for entry_id, value in rows:
        if entry_id in value_by_id:
            repeated[entry_id] += 1
            if on_duplicate == "first":
                continue
        value_by_id[entry_id] = value
    if repeated and on_duplicate == "error":
        raise UserError(
            f"{setting}={path}: {len(repeated):,} ids come more than once ({format_first(repeated)}); mend the file, "
            "or say which entry of an id counts with on_duplicate=first or on_duplicate=last"
        )
    return value_by_id, repeated.total()
