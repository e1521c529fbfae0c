"""Entries of files to score: reading, errors and duplicate ids."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from close_transfer.config.score_predictions import OnDuplicate
from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import entries, line_format, read_document, read_lines
from close_transfer.evaluation.reference_files.file_formats import build_wrong_kind_error
from close_transfer.tasks import Task

_NUM_SHOWN = 5  # ids in a message

T = TypeVar("T")


class EntryErrors(RecordErrors):
    """Errors of a file to score, which are never skipped: a score over fewer examples is not comparable."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "error", "entries")
        self._reasons: set[str] = set()

    def add(self, place: str, error: RecordError) -> None:
        """Add the error of one record; `place` locates it in the file."""
        super().add(place, error)
        if len(self._reasons) < 2:  # enough to know whether all reasons are equal
            self._reasons.add(str(error))

    def settle(self, num_usable: int) -> Counter[str]:
        """Return an empty counter, because no entry is skipped.

        Raises:
            UserError: lists the first errors; also if the file has no entry.
        """
        if self.count > 1 and not num_usable and len(self._reasons) == 1:  # the file or a setting is wrong
            raise UserError(f"{self._shown[0]}. This error is the same in all {self.count:,} entries")
        if self.count:
            num_hidden = self.count - len(self._shown)
            lines = [*self._shown, *([f"and {num_hidden} more such entries"] if num_hidden else [])]
            raise UserError("\n".join(lines) + "\nCorrect the file, or remove those entries from it")
        if not num_usable:
            raise UserError(f"{self._path}: it has no entry to score. Give another file")
        return Counter()


def find_field(record: Any, names: tuple[str, ...], advice: str = "") -> str:
    """Return the first of the names that the record has.

    A value that is not an object gets the first name, and fails when that field is read.

    Raises:
        RecordError: if the record has none of the fields.
    """
    if isinstance(record, dict) and not any(name in record for name in names):
        present_fields = ", ".join(repr(str(key)[:60]) for key in list(record)[:12]) or "none"
        raise RecordError(f"it has none of the fields {', '.join(names)}, only {present_fields}{advice}")
    return next((name for name in names if isinstance(record, dict) and name in record), names[0])


def find_numbered(record: Any, names: tuple[str, ...]) -> list[str]:
    """Return the fields that are one of the names with a number, such as caption_0, caption_1 or caption2."""
    bases = "|".join(re.escape(name.removesuffix("s")) for name in names)
    pattern = re.compile(rf"(?:{bases})s?_?\d{{1,3}}")
    return [name for name in record if pattern.fullmatch(name)] if isinstance(record, dict) else []


@contextmanager
def explain_wrong_kind(path: Path, setting: str, task: type[Task]) -> Iterator[None]:
    """Replace errors of a file that is of a known other kind by one error that states the kind."""
    try:
        yield
    except UserError as error:
        raise build_wrong_kind_error(path, setting, task) or error from None


def format_first(ids: Iterable[str]) -> str:
    """Return the first ids, for a message."""
    shown = list(ids)
    return ", ".join(shown[:_NUM_SHOWN]) + (", ..." if len(shown) > _NUM_SHOWN else "")


def is_text_by_id(document: Any) -> bool:
    """Return True if a JSON document is an object {id: text} or {id: [texts]}, as pycocoevalcap takes them."""
    return isinstance(document, dict) and bool(document) and all(map(_are_texts, document.values()))


def _are_texts(value: Any) -> bool:
    texts = value if isinstance(value, list) else [value]
    return bool(texts) and all(
        isinstance(text, str) or (isinstance(text, dict) and text.keys() == {"caption"}) for text in texts
    )


def _list_texts(document: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    for entry_id, value in document.items():
        texts = [
            text["caption"] if isinstance(text, dict) else text
            for text in (value if isinstance(value, list) else [value])
        ]
        single = name == "prediction" and len(texts) == 1
        yield f"id {entry_id!r}", {"id": entry_id, name: texts[0] if single else texts}


def read_entries(path: Path, setting: str) -> Iterator[tuple[str, Any]]:
    """Yield (place, record) of a JSON list, of a JSON object with a text or texts by id, of JSON Lines or of a table.

    Raises:
        UserError: if the file is of another format or cannot be read.
    """
    if path.name.removesuffix(".gz").endswith(".json"):
        document = read_document(path, setting)
        if is_text_by_id(document):
            yield from _list_texts(document, "prediction" if setting == "predictions" else "references")
            return
        for number, record in enumerate(entries(document, None, path, setting)):
            yield f"entry [{number}]", record
    elif line_format(path, setting) == ".txt":
        raise UserError(
            f"{setting}={path}: its format cannot be scored, because its lines have no ids. Give a .json, .jsonl, .csv, .tsv "
            "or .parquet file"
        )
    else:
        for line, record in read_lines(path, setting):
            yield f"line {line}", record


def parse_entries(rows: Iterable[tuple[str, Any]], parse: Callable[[Any], T], errors: RecordErrors) -> list[T]:
    """Parse every record; a `RecordError` of `parse` is added to `errors`.

    Raises:
        UserError: as `errors.settle` does.
    """
    parsed = []
    for place, record in rows:
        try:
            parsed.append(parse(record))
        except RecordError as error:
            errors.add(place, error)
    errors.settle(len(parsed))
    return parsed


def index_by_id(
    rows: Iterable[tuple[str, T]], path: Path, setting: str, on_duplicate: OnDuplicate
) -> tuple[dict[str, T], int]:
    """Return the values by id, in the order of the file, and the number of duplicates left out.

    Raises:
        UserError: if an id is in the file more than once, with `on_duplicate="error"`.
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
            f"{setting}={path}: {len(repeated):,} ids are in it more than once ({format_first(repeated)}). Correct the "
            "file, or choose the entry of an id that counts: on_duplicate=first or on_duplicate=last"
        )
    return value_by_id, repeated.total()
