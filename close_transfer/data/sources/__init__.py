"""Readers of datasets, one file per family of formats, each of which returns Examples."""

from collections.abc import Callable, Sequence

import numpy as np

from close_transfer.config.data import (
    CocoData,
    ConceptualCaptionsData,
    DataConfig,
    FileData,
    Flickr30kData,
    HuggingFaceData,
    NocapsData,
    PicturebookData,
    SnliData,
    Vqa2Data,
    VqaEData,
)
from close_transfer.core.arrays import IntArray
from close_transfer.core.errors import UserError
from close_transfer.core.readers.text_check import check_sentences, spread_evenly
from close_transfer.data.example_kinds import CAPTIONS, ExampleKind, find_datasets
from close_transfer.data.example_sequences import count_texts
from close_transfer.data.examples import Example
from close_transfer.data.sources import (
    coco,
    conceptual_captions,
    file,
    flickr30k,
    picturebook,
    snli,
    visual_news,
    vqa,
)
from close_transfer.data.sources.images import keep_with_images
from close_transfer.data.sources.loaded import LoadedSplit

__all__ = ["LoadedSplit", "load_examples"]


def load_examples(
    data: DataConfig,
    kind: ExampleKind,
    split: str,
    *,
    texts_needed: bool = True,
    images_needed: bool = False,
    joins_rows: bool = False,
) -> LoadedSplit:
    """Return the examples of one split of a dataset.

    Args:
        data: settings of the dataset.
        kind: kind of the examples; a dataset may provide several.
        split: "train", "val", "test", or Picturebook's "test-novel".
        texts_needed: False if images are the input, so that the scenes' text may be missing.
        images_needed: True if the images will be opened, so that they must exist.
        joins_rows: True if rows of a table with one image, one prompt and an answer each are one example, because the
            image is the input and each answer is right. Captions of one image are one example anyway.

    Raises:
        UserError: if the data do not provide the kind or the split, cannot be read, or lack images that are needed;
            the last with the counts.
    """
    if kind.name not in data.provides:
        raise UserError(
            f"data={data.name} provides {', '.join(data.provides)}, but {kind.name} are needed. Use one of "
            f"data={', '.join(find_datasets(kind))}"
        )
    if split == "test-novel" and data.name != "picturebook":
        raise UserError(f"split=test-novel: data={data.name} does not have this split. Use split=test")
    loaded = _load(data, kind, split, texts_needed, joins_rows)
    if not loaded.examples:
        raise UserError(f"data={data.name}: there are no {kind.name} in split={split}. Give more data")
    _check_texts(data, kind, loaded.examples)
    if images_needed and not isinstance(data, PicturebookData):
        loaded.examples, missing = keep_with_images(loaded.examples, split, data.on_missing_image)
        loaded.skipped += missing
    return loaded


def _check_texts(data: DataConfig, kind: ExampleKind, examples: Sequence[Example]) -> None:
    """Check that the texts are sentences; references are, if the task writes captions, and may be numbers if not.

    Raises:
        UserError: names the setting of the column that holds something else.
    """
    if not getattr(data, "check_text", False):
        return
    source = data.describe_source()
    texts: dict[str, tuple[Callable[[Example], Sequence[str]], IntArray]] = {
        "text_column": (lambda example: example.texts, count_texts(examples))
    }
    if kind == CAPTIONS and data.columns.get("references_column"):
        counts = np.fromiter((len(example.references) for example in examples), dtype=np.int64)
        texts["references_column"] = (lambda example: example.references, counts)
    for name, (get_texts, counts) in texts.items():
        column = data.columns.get(name)
        named = f"{source} data.{name}={column}" if column else source
        with_text = np.flatnonzero(counts)
        values = [get_texts(examples[int(with_text[place])])[0] for place in spread_evenly(range(len(with_text)))]
        check_sentences(values, named, f"data.{name}" if column else None, "data.check_text=false")


def _load(data: DataConfig, kind: ExampleKind, split: str, texts_needed: bool, joins_rows: bool) -> LoadedSplit:
    match data:
        case PicturebookData():
            return picturebook.load(data, kind, split)  # type: ignore[arg-type]
        case FileData():
            return file.load(data, kind, split, joins_rows)
        case HuggingFaceData():
            # Imported here, because `datasets` takes longer to load than most other data take to read.
            from close_transfer.data.sources import huggingface

            return huggingface.load(data, kind, split, joins_rows)
        case CocoData() | NocapsData():
            return coco.load(data, split)
        case Flickr30kData():
            return flickr30k.load(data, split)
        case ConceptualCaptionsData():
            return conceptual_captions.load(data, split)
        case SnliData():
            return snli.load(data, split, texts_needed)
        case Vqa2Data():
            return vqa.load_vqa2(data, split, texts_needed)
        case VqaEData():
            return vqa.load_vqa_e(data, split)
        case _:
            return visual_news.load(data, split)
