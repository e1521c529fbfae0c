"""Plain texts from files, without those that must not be trained on."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import clean, entries, field, line_format, read_document, read_lines
from close_transfer.core.schema import OnBadRows
from close_transfer.core.text_normalization import normalize_text


@dataclass
class TextReader:
    """Reads texts of .txt (a text a line), .jsonl, .csv, .tsv and COCO's .json, each also .gz; counts what it skips.

    Attributes:
        on_bad_rows: whether a line that cannot be used is an error, or skipped and counted.
        skipped: "empty" texts and "unusable" lines so far.
        skip: the setting that skips such lines, for messages.
    """

    on_bad_rows: OnBadRows
    skipped: Counter[str]
    skip: str = "on_bad_rows=skip"

    def read(self, path: Path, column: str, setting: str) -> Iterator[str]:
        """The texts of a file, with single spaces.

        Args:
            path: the file.
            column: the field of .jsonl, .csv and .tsv; in JSONL it may hold a list of texts. Text
                lines have none, and the captions of COCO's annotations (.json) are always `caption`.
            setting: what the user gave the file as, for messages.

        Raises:
            UserError: naming the file, and the line of what cannot be used.
        """
        column, place, records = self._read_records(path, column, setting)
        line = 0
        for line, record in records:
            try:
                value = field(record, column)
                values = value if isinstance(value, list) else [value]
                texts = [clean(item, column) for item in values if not self._is_empty(item)]
            except RecordError as fault:
                if self.on_bad_rows == "error":
                    raise UserError(
                        f"{path}, {place} {line}: {fault}; mend it, or skip and count such lines with {self.skip}"
                    ) from None
                self.skipped["unusable"] += 1
                continue
            self.skipped["empty"] += len(values) - len(texts)
            yield from texts
        if not line:
            raise UserError(f"{setting}={path}: the file is empty; give one with at least one text")

    @staticmethod
    def _read_records(path: Path, column: str, setting: str) -> tuple[str, str, Iterable[tuple[int, Any]]]:
        """The field that holds the text, what a record is called, and all records with their numbers."""
        if path.name.removesuffix(".gz").endswith(".json"):
            document = read_document(path, setting)
            return "caption", "annotation", enumerate(entries(document, "annotations", path, setting), start=1)
        kind = line_format(path, setting, also=".json (COCO's annotations)")
        return "text" if kind == ".txt" else column, "line", read_lines(path, setting)

    @staticmethod
    def _is_empty(value: object) -> bool:
        return isinstance(value, str) and not value.strip()


@dataclass(frozen=True)
class Corpus:
    """Texts to train on.

    Attributes:
        texts: in the files' order, repeated ones included.
        counts: "empty" and "unusable" as `TextReader` counts them, in all files; "excluded": texts left
            out because `exclude` holds them; "to_exclude": its distinct texts; "excluded_distinct": those
            of them that were met.
    """

    texts: list[str]
    counts: dict[str, int]


def read_corpus(
    paths: Sequence[Path], column: str, exclude: Path | None, exclude_column: str, on_bad_rows: OnBadRows
) -> Corpus:
    """All texts of some files without those of another; `normalize_text` says what is the same text.

    Raises:
        UserError: for what cannot be read, and if no text is left.
    """
    reader = TextReader(on_bad_rows, Counter())
    unwanted: set[str] = set()
    if exclude is not None:
        unwanted = {normalize_text(text) for text in reader.read(exclude, exclude_column, "exclude")} - {""}
        if not unwanted:
            raise UserError(f"exclude={exclude}: holds no text; give a file with at least one, or exclude=null")
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
            f"{counts['unusable']} unusable, {counts['excluded']} excluded); give other files"
        )
    return Corpus(texts, counts)
