"""Reader of plain texts from files, with exclusion of texts that must not be trained on."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.readers.columns import find_filled
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import clean, entries, field, read_document, read_lines
from close_transfer.core.readers.table_format import find_format
from close_transfer.core.readers.text_check import require_sentences, split_list
from close_transfer.core.schema import OnBadRows
from close_transfer.core.text_normalization import normalize_text

_logger = logging.getLogger(__name__)


@dataclass
class TextReader:
    """Reader of texts in .txt (one per line), .jsonl, .csv, .tsv, COCO's .json and a list in .json, each also .gz; .parquet.

    Attributes:
        on_bad_rows: "error" to report a line that cannot be used, "skip" to count it.
        skipped: number of "empty" texts and "unusable" lines so far.
        skip: setting that skips such lines, for messages.
        switch: setting that says that texts may be other than sentences, for messages; None not to check them.
    """

    on_bad_rows: OnBadRows
    skipped: Counter[str]
    skip: str = "on_bad_rows=skip"
    switch: str | None = "check_text=false"

    def read(self, path: Path, column: str, setting: str) -> Iterator[str]:
        """Yield the texts of a file, with single spaces.

        Args:
            path: the file.
            column: field that holds the text, or a pattern of several such as `caption_*`; in JSON Lines it may hold a list
                of texts. Not used for .txt, and for COCO's annotations (.json), whose field is always `caption`.
            setting: name of the setting that holds the path, for messages.

        Raises:
            UserError: names the file and the line that cannot be used, or a column that holds no sentences.
        """
        texts = self._iterate_texts(path, column, setting)
        if self.switch is None:
            return texts
        named = f"{setting}={path}, column {column}"
        return require_sentences(texts, named, f"{setting.removesuffix('_with')}_column", self.switch)

    def _iterate_texts(self, path: Path, column: str, setting: str) -> Iterator[str]:
        column, place, records = self._read_records(path, column, setting)
        line = 0
        for line, record in records:
            try:
                values = [value for name in find_filled(column, record) for value in self._split(field(record, name))]
                texts = [clean(item, column) for item in values if not self._is_empty(item)]
            except RecordError as fault:
                if self.on_bad_rows == "error":
                    raise UserError(
                        f"{path}, {place} {line}: {fault}. Correct it, or skip and count such lines with {self.skip}"
                    ) from None
                self.skipped["unusable"] += 1
                continue
            self.skipped["empty"] += len(values) - len(texts)
            yield from texts
        if not line:
            raise UserError(f"{setting}={path}: the file is empty. Give one with at least one text")

    @staticmethod
    def _read_records(path: Path, column: str, setting: str) -> tuple[str, str, Iterable[tuple[int, Any]]]:
        """Return the field that holds the text, the name of one record, and all records with their numbers."""
        kind, note = find_format(path, setting, column, documents="COCO's annotations")
        if kind == ".json":
            document = read_document(path, setting)
            if isinstance(document, list):
                return column, "entry", enumerate(document, start=1)
            return "caption", "annotation", enumerate(entries(document, "annotations", path, setting), start=1)
        if note:
            _logger.info("note: %s", note)
        return "text" if kind == ".txt" else column, "line", read_lines(path, setting, kind=kind, columns=[column])

    def _split(self, value: Any) -> list[Any]:
        value = split_list(value) if self.switch else value
        return value if isinstance(value, list) else [value]

    @staticmethod
    def _is_empty(value: object) -> bool:
        return isinstance(value, str) and not value.strip()


@dataclass(frozen=True)
class Corpus:
    """Training texts.

    Attributes:
        texts: texts in the files' order, with repetitions.
        counts: numbers of "empty" texts and "unusable" lines in all files, of "excluded" texts, of distinct texts
            "to_exclude", and of those of them that occurred ("excluded_distinct").
    """

    texts: list[str]
    counts: dict[str, int]


def read_corpus(
    paths: Sequence[Path],
    column: str,
    exclude: Path | None,
    exclude_column: str,
    on_bad_rows: OnBadRows,
    check_text: bool = True,
) -> Corpus:
    """Read the texts of some files without those of another; texts are compared by `normalize_text`.

    Args:
        paths: files of texts.
        column: field that holds the text in `paths`.
        exclude: file of texts to leave out; None for none.
        exclude_column: field that holds the text in `exclude`.
        on_bad_rows: "error" to report a line that cannot be used, "skip" to count it.
        check_text: True to check that the texts look like sentences, and to split lists that a cell holds.

    Raises:
        UserError: if a file cannot be read, or no text is left.
    """
    reader = TextReader(on_bad_rows, Counter(), switch="check_text=false" if check_text else None)
    unwanted: set[str] = set()
    if exclude is not None:
        unwanted = {normalize_text(text) for text in reader.read(exclude, exclude_column, "exclude")} - {""}
        if not unwanted:
            raise UserError(f"exclude={exclude}: holds no text. Give a file with at least one, or exclude=null")
    texts: list[str] = []
    excluded: Counter[str] = Counter()
    for path in paths:
        for text in reader.read(path, column, "text"):
            key = normalize_text(text) if unwanted else ""
            if key in unwanted:
                excluded[key] += 1
            else:
                texts.append(text)
    counts = {
        "empty": reader.skipped["empty"],
        "unusable": reader.skipped["unusable"],
        "excluded": excluded.total(),
        "to_exclude": len(unwanted),
        "excluded_distinct": len(excluded),
    }
    if not texts:
        raise UserError(
            f"text={','.join(map(str, paths))}: no text is left to train on ({counts['empty']} empty, "
            f"{counts['unusable']} unusable, {counts['excluded']} excluded). Give other files"
        )
    return Corpus(texts, counts)
