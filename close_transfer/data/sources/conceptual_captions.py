"""Conceptual Captions: per line a caption, a tab and an address (Sharma et al., ACL 2018).

The address may also come first, as in Conceptual 12M. Text only: the images at the addresses are not downloaded.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from close_transfer.config.data import ConceptualCaptionsData
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import read_lines, text_field
from close_transfer.core.readers.text_check import classify
from close_transfer.data.examples import Example
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.official_files import open_official_file

_FIELDS = ("caption", "url")


def load(data: ConceptualCaptionsData, split: str) -> LoadedSplit:
    """Return the first `max_captions` captions of one split, each as a separate scene.

    The file is read as a stream, so that a limit saves time; the captions are held in memory (docs/data.md).

    Raises:
        UserError: names file, line and field of unusable lines.
    """
    path, setting = open_official_file(data, split)
    fields, notes = _find_fields(path, setting)
    faults = RecordErrors(path, data.on_bad_rows)
    examples = []
    for line, record in islice(read_lines(path, setting, fields, ".tsv"), data.max_captions):
        try:
            texts = (text_field(record, "caption"),)  # one tuple for both saves memory: there are millions
            examples.append(Example(f"line {line}", texts, references=texts))
        except RecordError as fault:
            faults.add(f"line {line}", fault)
    return LoadedSplit(examples, faults.settle(len(examples)), notes)


def _find_fields(path: Path, setting: str) -> tuple[Sequence[str], list[str]]:
    """Return the names of the two fields in their order, and a note if the address comes first."""
    first = next((record for _, record in read_lines(path, setting, _FIELDS, ".tsv") if isinstance(record, dict)), {})
    is_swapped = [classify(first.get(name, "")) for name in _FIELDS] == ["addresses", ""]
    if not is_swapped:
        return _FIELDS, []
    return _FIELDS[::-1], [f"{path.name} has the address first and the caption second, as Conceptual 12M has them"]
