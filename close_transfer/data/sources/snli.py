"""SNLI, SNLI-VE and e-SNLI-VE: premises, hypotheses and labels, as official JSON lines or CSV.

SNLI (Bowman et al., arXiv 1508.05326) has `gold_label, sentence1, sentence2, pairID`; SNLI-VE (Xie et al.,
arXiv 1901.06706) adds `Flickr30K_ID`, the image that the premise was a caption of. e-SNLI-VE (Kayser et al., arXiv
2105.03761) is a CSV with `hypothesis` and `Flickr30kID`, without premises. The label "-" means
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
from close_transfer.data.sources.images import make_ref_inside
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.official_files import get_image_folder, open_official_file

NO_GOLD_LABEL = "-"

# Spellings of the fields: SNLI's first, then those of e-SNLI and e-SNLI-VE.
_PREMISE = ("sentence1", "premise", "Sentence1")
_HYPOTHESIS = ("sentence2", "hypothesis", "Sentence2")
# The second is in SNLI-VE's own description of its files, and the third in many files made by its generator.
_IMAGE = ("Flickr30K_ID", "Flickr30kID", "Flikr30kID")


def _find_field(record: Any, names: tuple[str, ...]) -> str:
    return next((name for name in names if isinstance(record, dict) and name in record), names[0])


def parse_pair(record: Any, folder: Path, texts_needed: bool = True) -> Example | None:
    """Return one pair as an example; None if annotators did not agree. Raises `RecordError`.

    Args:
        record: one record of the file.
        folder: folder of the images.
        texts_needed: False if the image is the input, so that the premise may be missing, as in e-SNLI-VE.
    """
    label = choice_field(record, "gold_label", [*PAIRS.labels, NO_GOLD_LABEL])
    if label == NO_GOLD_LABEL:
        return None
    image = None
    image_field = _find_field(record, _IMAGE)
    if image_field in record:
        name = f"{key_field(record, image_field).removesuffix('.jpg')}.jpg"
        image = make_ref_inside(folder, name, image_field)
    premise_field = _find_field(record, _PREMISE)
    has_premise = texts_needed or image is None or premise_field in record
    return Example(
        id=key_field(record, "pairID"),
        texts=(text_field(record, premise_field),) if has_premise else (),
        image=image,
        prompt=text_field(record, _find_field(record, _HYPOTHESIS)),
        references=(label,),
        category=label,
    )


def load(data: SnliData, split: str, texts_needed: bool = True) -> LoadedSplit:
    """Return the pairs of one split; they have no image if the file names none (SNLI).

    Args:
        data: settings of the dataset.
        split: "train", "val" or "test".
        texts_needed: False if the images are the input, so that premises may be missing.

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
            example = parse_pair(record, folder, texts_needed)
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
