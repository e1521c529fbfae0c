"""Settings of the data, one class per dataset or family of datasets, which owns the facts about it."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field

from close_transfer.config.dataset import DatasetSettings, ExampleKindName, FileSplit, explain_missing_folder
from close_transfer.core.readers.open_file import is_file
from close_transfer.core.roles import Names, Role
from close_transfer.core.schema import Natural, NonNegative, OnBadRows, Positive, Share


class PicturebookData(DatasetSettings):
    """Settings of Picturebook, the built-in dataset."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions", "pairs", "questions")
    is_generated: ClassVar[bool] = True

    name: Literal["picturebook"]
    seed: Natural
    num_train: Positive
    num_val: Positive
    num_test: Positive
    num_test_novel: Positive
    noise: dict[str, NonNegative]
    epochs: dict[str, Positive]


class TableSettings(DatasetSettings):
    """Settings of a user's own rows, including the names of their columns."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions", "pairs", "questions", "rows")
    is_table: ClassVar[bool] = True

    path: Annotated[str, Names.FILE_OR_HUB]
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
    check_text: bool
    noise: dict[str, NonNegative]
    epochs: dict[str, Positive]

    @property
    def names_images(self) -> bool:
        return self.image_column is not None

    @property
    def names_prompts(self) -> bool:
        return None not in (self.prompt, self.target_column)

    @property
    def columns(self) -> dict[str, str]:
        columns = {
            "text_column": self.text_column,
            "group_column": self.group_column,
            "image_column": self.image_column,
            "id_column": self.id_column,
            "references_column": self.references_column,
            "prompt": self.prompt,
            "target_column": self.target_column,
        }
        return {name: column for name, column in columns.items() if column}

    def describe_source(self) -> str:
        return f"data={self.name} data.path={self.path}"

    def _trains_on_rows(self, other: DatasetSettings, split: str, is_held_out: bool) -> bool:
        # If a share of one file or split is held out for validation, val has rows that training lacks.
        return not (split == "val" and is_held_out and self == other)


class FileData(TableSettings):
    """Settings of a file of captions: .txt, .jsonl, .json, .csv or .tsv, each also .gz; .parquet."""

    has_splits: ClassVar[bool] = False

    name: Literal["file"]
    val_path: Annotated[str | None, Names.FILE]

    def list_text_files(self, split: str) -> list[tuple[str, str]]:
        return [("", self.path)]

    @property
    def text_field(self) -> str:
        return self.references_column or self.text_column

    def trains_on(self, other: DatasetSettings, split: str) -> bool:
        if split == "train" or not isinstance(other, FileData):
            return super().trains_on(other, split)
        file = other.val_path if split == "val" and other.val_path else other.path
        is_same = Path(file).resolve() == Path(self.path).resolve()
        return is_same and self._trains_on_rows(other, split, is_held_out=other.val_path is None)


class PublishedData(DatasetSettings):
    """Settings that all published datasets share: a folder, its files, and the treatment of bad entries."""

    is_published: ClassVar[bool] = True

    root: Annotated[str, Role.ROOT, Names.FILE]
    files: Annotated[dict[FileSplit, str], Names.FILE]
    image_folders: Annotated[dict[FileSplit, str], Names.FILE]
    on_bad_rows: OnBadRows
    on_missing_image: OnBadRows
    check_text: bool
    noise: dict[str, NonNegative]
    epochs: dict[str, Positive]

    def find_evaluation_split(self) -> Literal["val", "test"]:
        return "test" if "test" in self.files else "val"

    def list_files(self, split: str, texts_needed: bool) -> list[tuple[str, str]]:
        return [(self.root, name) for key, name in self.files.items() if key == split]

    def explain_missing_images(self, split: str) -> str:
        folders = [folder for key, folder in self.image_folders.items() if key == split]
        if not folders:
            return f"data={self.name} has no images. Evaluate on data with images"
        return explain_missing_folder(Path(self.root, folders[0]), split)

    def is_same_split(self, other: DatasetSettings, split: str) -> bool:
        if not isinstance(other, PublishedData):
            return False
        first_file, second_file = ({**data.files}.get(split) for data in (self, other))  # type: ignore[call-overload]
        return (self.name, self.root, first_file) == (other.name, other.root, second_file)

    def _list_split_file(self, split: str) -> list[tuple[str, str]]:
        return self.list_files(split, texts_needed=True)[:1]


class CocoData(PublishedData):
    """Settings of COCO captions, as the official annotation files or as Karpathy's one file of splits."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions",)

    name: Literal["coco"]
    split: Literal["train", "train+restval"]

    def list_text_files(self, split: str) -> list[tuple[str, str]]:
        # Karpathy's one file holds all splits, so it cannot be used for the texts of one of them.
        return [file for file in self._list_split_file(split) if Path(file[1]).name.startswith("captions_")]

    def name_published_split(self, split: str) -> str:
        return self.split if split == "train" else split


class Flickr30kData(PublishedData):
    """Settings of Flickr30k: Karpathy's JSON, the official .token file, or JSONL with image and captions."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions",)

    name: Literal["flickr30k"]


class NocapsData(PublishedData):
    """Settings of NoCaps, for testing: COCO's format with a domain per image."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions",)
    has_domains: ClassVar[bool] = True

    name: Literal["nocaps"]

    def list_text_files(self, split: str) -> list[tuple[str, str]]:
        return self._list_split_file(split)


class SnliData(PublishedData):
    """Settings of SNLI and SNLI-VE: official JSONL."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("pairs",)

    name: Literal["snli", "snli-ve"]

    def list_text_files(self, split: str) -> list[tuple[str, str]]:
        return self._list_split_file(split)

    @property
    def text_field(self) -> str:
        return "sentence1"


class Vqa2Data(PublishedData):
    """Settings of VQA v2: official questions (`files`) and annotations, scene text from COCO captions."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("questions",)
    hides_test_answers: ClassVar[bool] = True

    name: Literal["vqa2"]
    annotations: Annotated[dict[FileSplit, str], Names.FILE]
    captions: Annotated[dict[FileSplit, str], Names.FILE]
    captions_root: Annotated[str, Role.ROOT, Names.FILE]
    on_missing_scene: OnBadRows

    @property
    def answer_files(self) -> dict[FileSplit, str]:
        return self.annotations

    def find_evaluation_split(self) -> Literal["val", "test"]:
        return "test" if "test" in self.files.keys() & self.annotations.keys() else "val"

    def list_files(self, split: str, texts_needed: bool) -> list[tuple[str, str]]:
        answers = [(self.root, name) for key, name in self.annotations.items() if key == split]
        captions = [(self.captions_root, name) for key, name in self.captions.items() if key == split]
        return [*super().list_files(split, texts_needed), *answers, *(captions if texts_needed else [])]

    def prepare_for_texts(self, split: str) -> Self | None:
        return self.model_copy(update={"on_missing_scene": "skip"}) if split in self.captions else None

    def build_text_source(self) -> "CocoData":
        return CocoData(
            name="coco",
            split="train",
            root=self.captions_root,
            files=self.captions,
            image_folders={},
            on_bad_rows=self.on_bad_rows,
            on_missing_image=self.on_missing_image,
            check_text=self.check_text,
            noise={},
            epochs={},
        )

    def remove_answers(self, split: str) -> Self:
        answered = {key: name for key, name in self.annotations.items() if key != split}
        return self.model_copy(update={"annotations": answered})


class VqaEData(PublishedData):
    """Settings of VQA-E: questions with explanations, the first of which is the scene's text."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("explained questions",)

    name: Literal["vqa-e"]


class VisualNewsData(PublishedData):
    """Settings of Visual News: captions, with the article as the prompt."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("articles",)

    name: Literal["visual-news"]
    articles: Literal["first-line", "whole"]

    def explain_missing_images(self, split: str) -> str:
        return explain_missing_folder(Path(self.root), split)  # the entries name their images' folders


class ConceptualCaptionsData(PublishedData):
    """Settings of Conceptual Captions: a caption and an address per line, read line by line."""

    provides: ClassVar[tuple[ExampleKindName, ...]] = ("captions",)

    name: Literal["conceptual-captions"]
    max_captions: Positive | None

    @property
    def names_images(self) -> bool:
        return False


class HuggingFaceData(TableSettings):
    """Settings of any dataset of the `datasets` library, by hub name or local folder."""

    name: Literal["huggingface"]
    config: str | None
    splits: dict[FileSplit, str | None]

    def find_evaluation_split(self) -> Literal["val", "test"]:
        return "test" if self.splits.get("test") else "val"

    def trains_on(self, other: DatasetSettings, split: str) -> bool:
        if split == "train" or not isinstance(other, HuggingFaceData):
            return super().trains_on(other, split)
        trained, tested = {**self.splits}.get("train"), {**other.splits}.get(split)  # type: ignore[call-overload]
        is_undivided = is_file(Path(other.path) / "state.json")  # saved without splits: each split is the whole dataset
        is_held_out = is_undivided or tested is None
        is_same = (self.path, self.config) == (other.path, other.config) and (is_held_out or trained == tested)
        return is_same and self._trains_on_rows(other, split, is_held_out)


_Published = (
    CocoData | Flickr30kData | NocapsData | SnliData | Vqa2Data | VqaEData | VisualNewsData | ConceptualCaptionsData
)

_AnyData = PicturebookData | FileData | HuggingFaceData | _Published

DataConfig = Annotated[_AnyData, Field(discriminator="name")]

# Every name in `data=`, with the class of its settings.
DATASETS: dict[str, type[_AnyData]] = {
    name: dataset for dataset in get_args(_AnyData) for name in get_args(dataset.model_fields["name"].annotation)
}
