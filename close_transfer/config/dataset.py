"""Base class of a dataset's settings, with the facts about a dataset that other packages need.

Other packages use these facts only, so that none of them depends on a certain dataset.
"""

from pathlib import Path
from typing import ClassVar, Literal, Self

from close_transfer.core.schema import OnBadRows, StrictModel

FileSplit = Literal["train", "val", "test"]
# Kinds of examples; `data/example_kinds.py` describes each.
ExampleKindName = Literal["captions", "pairs", "questions", "explained questions", "articles", "rows"]


class DatasetSettings(StrictModel):
    """Base class of the settings of a dataset. The defaults fit a dataset whose splits are complete.

    Attributes:
        name: name in `data=`.
        provides: kinds of examples.
        is_published: True if its files have published sizes, which `check_data.py` compares with.
        is_generated: True if code draws the images, so that no file can be missing.
        is_table: True for a user's own rows, whose columns the settings name.
        has_splits: False for a single file, all of which is training data.
        has_domains: True if an example's category is its domain, such as NoCaps' "out-domain".
        hides_test_answers: True if the test split's answers are not public and a server scores them.
    """

    provides: ClassVar[tuple[ExampleKindName, ...]]
    is_published: ClassVar[bool] = False
    is_generated: ClassVar[bool] = False
    is_table: ClassVar[bool] = False
    has_splits: ClassVar[bool] = True
    has_domains: ClassVar[bool] = False
    hides_test_answers: ClassVar[bool] = False

    name: str

    @property
    def names_images(self) -> bool:
        """Return True if the examples name images."""
        return True

    @property
    def names_prompts(self) -> bool:
        """Return True if the settings name all that a prompt and its answer need."""
        return True

    @property
    def bad_rows(self) -> OnBadRows:
        """Return what to do with bad rows of files that are read along with the dataset."""
        return getattr(self, "on_bad_rows", "error")

    @property
    def columns(self) -> dict[str, str]:
        """Return the settings that name columns of a user's own table, with their values."""
        return {}

    @property
    def answer_files(self) -> dict[FileSplit, str]:
        """Return the files, by split, that hold answers apart from the examples."""
        return {}

    def describe_source(self) -> str:
        """Return the settings that say which data these are, for messages."""
        return f"data={self.name}"

    def find_evaluation_split(self) -> Literal["val", "test"]:
        """Return the test split, or the validation split if that has no file or no answers."""
        return "test"

    def list_files(self, split: str, texts_needed: bool) -> list[tuple[str, str]]:
        """Return folder and name of the files that a split is read from; empty if they are not known."""
        return []

    def explain_missing_images(self, split: str) -> str:
        """Return why a split has no images; empty if it may have some."""
        return ""

    def list_text_files(self, split: str) -> list[tuple[str, str]]:
        """Return folder and name of the one file with a split's texts, if `exclude_overlap_with` can read it."""
        return []

    @property
    def text_field(self) -> str:
        """Return the field of a text in that file; empty if the file's format defines it."""
        return ""

    def prepare_for_texts(self, split: str) -> Self | None:
        """Return settings with which the texts of a split can be read; None if it has no texts."""
        return self

    def build_text_source(self) -> "DatasetSettings | None":
        """Return the dataset that the scenes' texts come from; None if the examples hold them."""
        return None

    def remove_answers(self, split: str) -> Self:
        """Return settings that read a split without its answers."""
        return self

    def name_published_split(self, split: str) -> str:
        """Return the name under which the size of a split is published."""
        return split

    def is_same_split(self, other: "DatasetSettings", split: str) -> bool:
        """Return True if a split of both is the same file."""
        return self == other

    def trains_on(self, other: "DatasetSettings", split: str) -> bool:
        """Return True if the training split of these data reads the rows of a split of `other`.

        Files and names of splits decide, not their content; slices of a split count as different.
        """
        return split == "train" and self.is_same_split(other, split)


def explain_missing_folder(folder: Path, split: str) -> str:
    """Return why there are no images of a split, if its folder is missing; else an empty string."""
    return "" if folder.is_dir() else f"images of {split} are not in {folder}. Put them there to leave out scene=text"
