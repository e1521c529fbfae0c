"""Settings of the data, one class a source; `name` tells them apart."""

from typing import Annotated, Literal

from pydantic import Field

from close_transfer.config.choices import TaskName
from close_transfer.core.roles import Names, Role
from close_transfer.core.schema import Natural, NonNegative, OnBadRows, Positive, Share, StrictModel

FileSplit = Literal["train", "val", "test"]


class PicturebookData(StrictModel):
    """The built-in world."""

    name: Literal["picturebook"]
    seed: Natural
    num_train: Positive  # scenes; the examples a scene gives differ by task
    num_val: Positive
    num_test: Positive
    num_test_novel: Positive
    noise: dict[TaskName, NonNegative]  # where the task's default does not fit this data
    epochs: dict[TaskName, Positive]


class FileData(StrictModel):
    """Own captions: .txt, .jsonl, .csv or .tsv, each also .gz; .parquet."""

    name: Literal["file"]
    path: Annotated[str, Names.FILE_OR_HUB]
    val_path: Annotated[str | None, Names.FILE]
    val_share: Share  # of the scenes, held out for validation when there is no val_path
    text_column: str
    group_column: str | None
    image_column: str | None
    id_column: str | None
    references_column: str | None  # what predictions are scored against, when not the text itself
    prompt: str | None = None  # with {column} for what a column holds; of tasks that ask something
    target_column: str | None = None  # what is to be written, of tasks other than captioning
    on_bad_rows: OnBadRows
    on_missing_image: OnBadRows = "error"  # scenes whose image is not there, where images are used
    noise: dict[TaskName, NonNegative]
    epochs: dict[TaskName, Positive]


class _OfficialData(StrictModel):
    """What all published datasets share: a folder, the files in it, what to do with bad entries."""

    root: Annotated[str, Role.ROOT, Names.FILE]
    files: Annotated[dict[FileSplit, str], Names.FILE]  # relative to root; each is also found as NAME.gz
    image_folders: Annotated[dict[FileSplit, str], Names.FILE]  # relative to root
    on_bad_rows: OnBadRows
    on_missing_image: OnBadRows = "error"  # scenes whose image is not there, where images are used
    noise: dict[TaskName, NonNegative]
    epochs: dict[TaskName, Positive]


class CocoData(_OfficialData):
    """COCO captions, as the official annotation files or as Karpathy's one file of splits."""

    name: Literal["coco"]
    split: Literal["train", "train+restval"]  # of Karpathy's; what is trained on


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
    annotations: Annotated[dict[FileSplit, str], Names.FILE]
    captions: Annotated[dict[FileSplit, str], Names.FILE]  # COCO captions, the words of the scenes
    captions_root: Annotated[str, Role.ROOT, Names.FILE]
    on_missing_scene: OnBadRows  # questions whose image has no caption


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
    path: Annotated[str, Names.FILE_OR_HUB]
    config: str | None
    splits: dict[FileSplit, str | None]  # the dataset's own names
    val_share: Share  # of the training scenes, held out for validation when splits.val is None
    text_column: str
    group_column: str | None
    image_column: str | None
    id_column: str | None
    references_column: str | None  # what predictions are scored against, when not the text itself
    prompt: str | None  # with {column} for what a column holds; of tasks that ask something
    target_column: str | None  # what is to be written, of tasks other than captioning
    on_bad_rows: OnBadRows
    on_missing_image: OnBadRows  # scenes whose image is not there, where images are used
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
