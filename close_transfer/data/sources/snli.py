"""SNLI and SNLI-VE: premises, hypotheses and labels, as official JSON lines.

SNLI (Bowman et al., arXiv 1508.05326) has `gold_label, sentence1, sentence2, pairID`; SNLI-VE (Xie et al.,
arXiv 1901.06706) adds `Flickr30K_ID`, the image that the premise was a caption of. The label "-" means
that the annotators did not agree. Such pairs are left out, as in both papers, and counted.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from close_transfer.config.data import SnliData
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import choice_field, key_field, new_key, read_lines, text_field
from close_transfer.data.example_kinds import PAIRS
from close_transfer.data.examples import Example
from close_transfer.data.sources.images import make_file_ref
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.official_files import get_image_folder, open_official_file

NO_GOLD_LABEL = "-"


def parse_pair(record: Any, folder: Path) -> Example | None:
    """Return one pair as an example; None if annotators did not agree. Raises `RecordError`."""
    label = choice_field(record, "gold_label", [*PAIRS.labels, NO_GOLD_LABEL])
    if label == NO_GOLD_LABEL:
        return None
    image = None
    if "Flickr30K_ID" in record:
        name = f"{key_field(record, 'Flickr30K_ID').removesuffix('.jpg')}.jpg"
        image = make_file_ref(folder / name, name)
    return Example(
        id=key_field(record, "pairID"),
        texts=(text_field(record, "sentence1"),),
        image=image,
        prompt=text_field(record, "sentence2"),
        references=(label,),
        category=label,
    )


def load(data: SnliData, split: str) -> LoadedSplit:
    """Return the pairs of one split; they have no image if the file names none (SNLI).

    Raises:
        UserError: names file, line and field of unusable lines.
    """
    path, setting = open_official_file(data, split)
    folder = get_image_folder(data, split)
    faults = RecordErrors(path, data.on_bad_rows)
    examples: list[Example] = []
    seen_ids: set[str] = set()
    num_without_label = 0
    for line, record in read_lines(path, setting):
        try:
            example = parse_pair(record, folder)
            if example is None:
                num_without_label += 1
                continue
            new_key(record, "pairID", seen_ids)
            examples.append(example)
        except RecordError as fault:
            faults.add(f"line {line}", fault)
    skipped = faults.settle(len(examples))
    if num_without_label:
        skipped += Counter({f"pairs without a gold label ({NO_GOLD_LABEL})": num_without_label})
    return LoadedSplit(examples, skipped)
