"""Flickr30k captions: Karpathy's JSON, the official token file, or JSON lines with image and captions.

The token file (Young et al., TACL 2014) has `IMAGE.jpg#NUMBER<tab>caption` per line and no splits: the whole file
is the split for which it is given.
"""

from pathlib import Path
from typing import Any

from close_transfer.config.data import Flickr30kData
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import clean, read_document, read_lines, text_field, texts_field
from close_transfer.data.examples import Example
from close_transfer.data.sources.coco import read_karpathy
from close_transfer.data.sources.images import make_file_ref, resolve_inside
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.official_files import get_image_folder, open_official_file


def _split_at_tab(record: Any) -> tuple[str, str, str]:
    """Return the text before the first tab of a line, the tab, and the rest. Raises `RecordError`."""
    if isinstance(record, RecordError):
        raise record
    return record["text"].partition("\t")


def _read_token_file(path: Path, setting: str, faults: RecordErrors) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for line, record in read_lines(path, setting, kind=".txt"):
        try:
            name, tab, caption = _split_at_tab(record)
            image, hash_sign, _ = name.partition("#")
            if not (tab and hash_sign):
                raise RecordError("not of the form IMAGE.jpg#NUMBER<tab>caption")
            image, caption = clean(image, "image"), clean(caption, "caption")
            resolve_inside(Path(), image, "image")
            captions.setdefault(image, []).append(caption)
        except RecordError as fault:
            faults.add(f"line {line}", fault)
    return captions


def _read_json_lines(path: Path, setting: str, faults: RecordErrors) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for line, record in read_lines(path, setting):
        try:
            image, texts = text_field(record, "image"), texts_field(record, "captions")
            resolve_inside(Path(), image, "image")
            captions.setdefault(image, []).extend(texts)
        except RecordError as fault:
            faults.add(f"line {line}", fault)
    return captions


def load(data: Flickr30kData, split: str) -> LoadedSplit:
    """Return the images of one split, each with its captions as texts and references.

    Raises:
        UserError: names file, line or entry, and field of unusable records.
    """
    path, setting = open_official_file(data, split)
    folder = get_image_folder(data, split)
    name = path.name.removesuffix(".gz")
    if name.endswith(".json"):
        faults = RecordErrors(path, data.on_bad_rows, "entries")
        examples = read_karpathy(read_document(path, setting), path, {split}, folder, faults, setting)
        return LoadedSplit(examples, faults.settle(len(examples)))
    faults = RecordErrors(path, data.on_bad_rows)
    captions = (_read_json_lines if name.endswith(".jsonl") else _read_token_file)(path, setting, faults)
    examples = [
        Example(image, tuple(texts), make_file_ref(folder / image, image), references=tuple(texts))
        for image, texts in captions.items()
    ]
    return LoadedSplit(examples, faults.settle(len(examples)))
