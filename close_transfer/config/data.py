"""Settings of the data, one class a source; `name` tells them apart."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from close_transfer.core.roles import Names, Role
from close_transfer.core.schema import Natural, NonNegative, OnBadRows, Positive, Share, StrictModel

FileSplit = Literal["train", "val", "test"]
# What examples hold; `data/example_kinds.py` describes each kind.
ExampleKindName = Literal["captions", "pairs", "questions", "explained questions", "articles", "rows"]


class PicturebookData(StrictModel):
    """The built-in world."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions", "pairs", "questions")

    name: Literal["picturebook"]
    seed: Natural
    num_train: Positive
    num_val: Positive
    num_test: Positive
    num_test_novel: Positive
    noise: dict[str, NonNegative]
    epochs: dict[str, Positive]


class FileData(StrictModel):
    """Own captions: .txt, .jsonl, .csv or .tsv, each also .gz; .parquet."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions", "pairs", "questions", "rows")

    name: Literal["file"]
    path: Annotated[str, Names.FILE_OR_HUB]
    val_path: Annotated[str | None, Names.FILE]
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
    noise: dict[str, NonNegative]
    epochs: dict[str, Positive]


class _OfficialData(StrictModel):
    """What all published datasets share: a folder, the files in it, what to do with bad entries."""

    provides: ClassVar[tuple[ExampleKindName, ...]]
    root: Annotated[str, Role.ROOT, Names.FILE]
    files: Annotated[dict[FileSplit, str], Names.FILE]
    image_folders: Annotated[dict[FileSplit, str], Names.FILE]
    on_bad_rows: OnBadRows
    on_missing_image: OnBadRows = "error"
    noise: dict[str, NonNegative]
    epochs: dict[str, Positive]


class CocoData(_OfficialData):
    """COCO captions, as the official annotation files or as Karpathy's one file of splits."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions",)

    name: Literal["coco"]
    split: Literal["train", "train+restval"]


class Flickr30kData(_OfficialData):
    """Flickr30k: Karpathy's JSON, the official .token file, or JSONL with image and captions."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions",)

    name: Literal["flickr30k"]


class NocapsData(_OfficialData):
    """NoCaps, for testing: COCO's format with a domain an image."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions",)

    name: Literal["nocaps"]


class SnliData(_OfficialData):
    """SNLI and SNLI-VE: official JSONL."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("pairs",)

    name: Literal["snli", "snli-ve"]


class Vqa2Data(_OfficialData):
    """VQA v2: official questions (`files`) and annotations, scene text from COCO captions."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("questions",)

    name: Literal["vqa2"]
    annotations: Annotated[dict[FileSplit, str], Names.FILE]
    captions: Annotated[dict[FileSplit, str], Names.FILE]
    captions_root: Annotated[str, Role.ROOT, Names.FILE]
    on_missing_scene: OnBadRows


class VqaEData(_OfficialData):
    """VQA-E: questions with explanations, the first of which is the scene's text."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("explained questions",)

    name: Literal["vqa-e"]


class VisualNewsData(_OfficialData):
    """Visual News: captions, with the article as the prompt."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("articles",)

    name: Literal["visual-news"]
    articles: Literal["first-line", "whole"]


class ConceptualCaptionsData(_OfficialData):
    """Conceptual Captions: a caption and an address a line, read line by line."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions",)

    name: Literal["conceptual-captions"]
    max_captions: Positive | None


class HuggingFaceData(StrictModel):
    """Any dataset of the `datasets` library, by hub name or local folder."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions", "pairs", "questions", "rows")

    name: Literal["huggingface"]
    path: Annotated[str, Names.FILE_OR_HUB]
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
    noise: dict[str, NonNegative]
    epochs: dict[str, Positive]


OfficialData = (
    CocoData | Flickr30kData | NocapsData | SnliData | Vqa2Data | VqaEData | VisualNewsData | ConceptualCaptionsData
)

_AnyData = PicturebookData | FileData | HuggingFaceData | OfficialData

DataConfig = Annotated[_AnyData, Field(discriminator="name")]

# Every name in `data=`, with the class of its settings.
DATASETS: dict[str, type[_AnyData]] = {
    name: dataset for dataset in get_args(_AnyData) for name in get_args(dataset.model_fields["name"].annotation)
}


def find_evaluation_split(data: DataConfig) -> Literal["val", "test"]:
    """The test split, or the validation split where that has no file or no answers."""
    if isinstance(data, Vqa2Data):
        return "test" if "test" in data.files.keys() & data.annotations.keys() else "val"
    if isinstance(data, HuggingFaceData):
        return "test" if data.splits.get("test") else "val"
    return "test" if "test" in getattr(data, "files", ["test"]) else "val"
