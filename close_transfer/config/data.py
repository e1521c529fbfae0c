"""Settings of the data, one class a source; `name` tells them apart."""

from typing import Annotated, Literal

from pydantic import Field

from close_transfer.config.choices import TaskName
from close_transfer.core.schema import Natural, NonNegative, OnBadRows, Positive, Share, StrictModel

FileSplit = Literal["train", "val", "test"]


class PicturebookData(StrictModel):
    """The built-in world."""

    name: Literal["picturebook"]
    seed: Natural
    num_train: Positive
    num_val: Positive
    num_test: Positive
    num_test_novel: Positive
    noise: dict[TaskName, NonNegative]
    epochs: dict[TaskName, Positive]


class FileData(StrictModel):
    """Own captions: .txt, .jsonl, .csv or .tsv, each also .gz; .parquet."""

    name: Literal["file"]
    path: str
    val_path: str | None
    val_share: Share
    text_column: str
    group_column: str | None
    image_column: str | None
    id_column: str | None
    references_column: str | None
    prompt: str | None
    target_column: str | None
    on_bad_rows: OnBadRows
    on_missing_image: OnBadRows
    noise: dict[TaskName, NonNegative]
    epochs: dict[TaskName, Positive]


class _OfficialData(StrictModel):
    """What all published datasets share: a folder, the files in it, what to do with bad entries."""

    root: str
    files: dict[FileSplit, str]
    image_folders: dict[FileSplit, str]
    on_bad_rows: OnBadRows
    on_missing_image: OnBadRows
    noise: dict[TaskName, NonNegative]
    epochs: dict[TaskName, Positive]


class CocoData(_OfficialData):
    """COCO captions, as the official annotation files or as Karpathy's one file of splits."""

    name: Literal["coco"]
    split: Literal["train", "train+restval"]


class Flickr30kData(_OfficialData):
    """Flickr30k: Karpathy's JSON, the official .token file, or JSONL with image and captions."""

    name: Literal["flickr30k"]


class NocapsData(_OfficialData):
    """NoCaps, for testing: COCO's format with a domain an image."""

    name: Literal["nocaps"]


class SnliData(_OfficialData):
    """SNLI and SNLI-VE: official JSONL."""

    name: Literal["snli", "snli-ve"]


class Vqa2Data(_OfficialData):
    """VQA v2: official questions (`files`) and annotations, scene text from COCO captions."""

    name: Literal["vqa2"]
    annotations: dict[FileSplit, str]
    captions: dict[FileSplit, str]
    captions_root: str
    on_missing_scene: OnBadRows


class VqaEData(_OfficialData):
    """VQA-E: questions with explanations, the first of which is the scene's text."""

    name: Literal["vqa-e"]


class VisualNewsData(_OfficialData):
    """Visual News: captions, with the article as the prompt."""

    name: Literal["visual-news"]
    articles: Literal["first-line", "whole"]


class ConceptualCaptionsData(_OfficialData):
    """Conceptual Captions: a caption and an address a line, read line by line."""

    name: Literal["conceptual-captions"]
    max_captions: Positive | None


class HuggingFaceData(StrictModel):
    """Any dataset of the `datasets` library, by hub name or local folder."""

    name: Literal["huggingface"]
    path: str
    config: str | None
    splits: dict[FileSplit, str | None]
    val_share: Share
    text_column: str
    group_column: str | None
    image_column: str | None
    id_column: str | None
    references_column: str | None
    prompt: str | None
    target_column: str | None
    on_bad_rows: OnBadRows
    on_missing_image: OnBadRows
    noise: dict[TaskName, NonNegative]
    epochs: dict[TaskName, Positive]


OfficialData = (
    CocoData | Flickr30kData | NocapsData | SnliData | Vqa2Data | VqaEData | VisualNewsData | ConceptualCaptionsData
)

DataConfig = Annotated[
    PicturebookData | FileData | OfficialData | HuggingFaceData,
    Field(discriminator="name"),
]


def find_evaluation_split(data: DataConfig) -> Literal["val", "test"]:
    """The test split, or the validation split where that has no file or no answers."""
    if isinstance(data, Vqa2Data):
        return "test" if "test" in data.files.keys() & data.annotations.keys() else "val"
    if isinstance(data, HuggingFaceData):
        return "test" if data.splits.get("test") else "val"
    return "test" if "test" in getattr(data, "files", ["test"]) else "val"
