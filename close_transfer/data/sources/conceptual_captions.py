"""Conceptual Captions: a caption, a tab and an address a line (Sharma et al., ACL 2018).

Text only: the images behind the addresses are not fetched.
"""

from itertools import islice

from close_transfer.config.data import ConceptualCaptionsData
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import read_lines, text_field
from close_transfer.data.examples import Example
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.official_files import open_official_file

_FIELDS = ("caption", "url")


def load(data: ConceptualCaptionsData, split: str) -> LoadedSplit:
    """The captions of one split, the first `max_captions` of them, each a scene of its own.

    The file is read as a stream, so that a limit makes it short; what was read is kept (docs/data.md).

    Raises:
        UserError: naming file, line and field of what cannot be used.
    """
    path, setting = open_official_file(data, split)
    faults = RecordErrors(path, data.on_bad_rows)
    examples = []
    for line, record in islice(read_lines(path, setting, _FIELDS, ".tsv"), data.max_captions):
        try:
            texts = (text_field(record, "caption"),)  # one tuple for both: there are millions
            examples.append(Example(f"line {line}", texts, references=texts))
        except RecordError as fault:
            faults.add(f"line {line}", fault)
    return LoadedSplit(examples, faults.settle(len(examples)))
