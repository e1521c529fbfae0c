"""COCO captions, and NoCaps, which has the same format.

There are two kinds of files, distinguished by their content. The official annotations hold `images` and
`annotations` (cocodataset.org, "data format"), and each file is one split. Karpathy's `dataset_coco.json` holds
`images` with `sentences` and a `split` each (Karpathy and Fei-Fei, arXiv 1412.2306, section 4).
"""

from collections import Counter
from pathlib import Path
from typing import Any

from close_transfer.config.data import CocoData, NocapsData
from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import (
    choice_field,
    clean,
    entries,
    key_field,
    list_field,
    new_key,
    read_document,
    text_field,
)
from close_transfer.data.examples import Example, ImageRef
from close_transfer.data.sources.images import make_ref_inside
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.official_files import get_image_folder, open_official_file

_KARPATHY_SPLITS = ("train", "restval", "val", "test")

# NoCaps' names of its three parts, and the names in its paper's tables.
_DOMAINS = {"in-domain": "in-domain", "near-domain": "near-domain", "out-domain": "out-of-domain"}


def read_karpathy(
    document: Any, path: Path, splits: set[str], root: Path, faults: RecordErrors, setting: str
) -> list[Example]:
    """Return the images of Karpathy's JSON (COCO or Flickr30k) whose split is one of `splits`, with their captions.

    Raises:
        UserError: if there is none; lists the splits of the file.
    """
    examples = []
    seen_ids: set[str] = set()
    for number, entry in enumerate(entries(document, "images", path, setting)):
        try:
            if choice_field(entry, "split", _KARPATHY_SPLITS) not in splits:
                continue
            texts = tuple(text_field(sentence, "raw") for sentence in list_field(entry, "sentences"))
            name = text_field(entry, "filename")
            key = str(Path(clean(entry.get("filepath") or ".", "filepath"), name))
            identifier = new_key(entry, "cocoid" if "cocoid" in entry else "filename", seen_ids)
            if not texts:
                raise RecordError("field 'sentences' is an empty list")
            examples.append(Example(identifier, texts, make_ref_inside(root, key, "filename"), references=texts))
        except RecordError as fault:
            faults.add(f"images[{number}]", fault)
    if not examples and not faults.count:
        split_counts = Counter(str(image.get("split")) for image in document["images"])
        wanted = "+".join(sorted(splits, reverse=True))
        raise UserError(
            f"{setting}={path}: there is no image of split={wanted}, only {dict(split_counts)}. Give another split or file"
        )
    return examples


def read_official(
    document: Any, path: Path, folder: Path, faults: RecordErrors, setting: str
) -> tuple[list[Example], int]:
    """Return the captioned images of COCO's JSON, and the number of images without a caption, which are left out."""
    images: dict[str, tuple[ImageRef, str]] = {}
    seen_ids: set[str] = set()
    captions: dict[str, list[str]] = {}
    for number, entry in enumerate(entries(document, "images", path, setting)):
        try:
            key = new_key(entry, "id", seen_ids)
            image_ref = make_ref_inside(folder, text_field(entry, "file_name"), "file_name")
            domain = _DOMAINS[choice_field(entry, "domain", [*_DOMAINS])] if "domain" in entry else ""
            images[key] = image_ref, domain
        except RecordError as fault:
            faults.add(f"images[{number}]", fault)
    for number, entry in enumerate(entries(document, "annotations", path, setting)):
        try:
            image, caption = key_field(entry, "image_id"), text_field(entry, "caption")
            if image not in images:
                raise RecordError(
                    f"field 'image_id' is {image[:60]}, which is not the id of a usable image of this file"
                )
            captions.setdefault(image, []).append(caption)
        except RecordError as fault:
            faults.add(f"annotations[{number}]", fault)
    examples = [
        Example(
            image,
            tuple(captions[image]),
            image_ref,
            references=tuple(captions[image]),
            category=domain,
        )
        for image, (image_ref, domain) in images.items()
        if image in captions
    ]
    return examples, len(images) - len(examples)


def is_karpathy(document: Any) -> bool:
    """Return True if the document has Karpathy's format: captions and a split within each image's entry."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("images"), list)
        and "annotations" not in document
        and any(isinstance(image, dict) and "sentences" in image for image in document["images"][:10])
    )


def _select_splits(data: CocoData | NocapsData, split: str) -> set[str]:
    if split == "train" and isinstance(data, CocoData):
        return set(data.split.split("+"))
    return {split}


def load(data: CocoData | NocapsData, split: str) -> LoadedSplit:
    """Return the images of one split, each with its captions as texts and references.

    Raises:
        UserError: names file, entry and field of unusable entries.
    """
    path, setting = open_official_file(data, split)
    root = Path(data.root)
    document = read_document(path, setting)
    faults = RecordErrors(path, data.on_bad_rows, "entries")
    notes = []
    if is_karpathy(document):
        examples = read_karpathy(document, path, _select_splits(data, split), root, faults, setting)
    else:
        if isinstance(data, CocoData) and data.split != "train" and split == "train":
            raise UserError(
                f"data.split={data.split}: {path.name} has no restval, which only Karpathy's file has. Give "
                "data.files.train=dataset_coco.json, or data.split=train"
            )
        folder = get_image_folder(data, split)
        examples, num_uncaptioned = read_official(document, path, folder, faults, setting)
        notes = [f"{num_uncaptioned} images without a caption are left out"] if num_uncaptioned else []
    return LoadedSplit(examples, faults.settle(len(examples)), notes)
