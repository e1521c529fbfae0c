"""Checks of a published dataset on disk: its files, their counts against the published ones, and its images."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from tqdm import tqdm

from close_transfer.config.data import DataConfig, PublishedData
from close_transfer.config.dataset import FileSplit
from close_transfer.core.errors import UserError
from close_transfer.core.schema import OnBadRows
from close_transfer.data.example_kinds import EXAMPLE_KINDS, ExampleKind
from close_transfer.data.examples import Example
from close_transfer.data.leakage import Leaks, collect_evaluation_texts, collect_training_texts, find_leaks
from close_transfer.data.sources import LoadedSplit, load_examples
from close_transfer.data.sources.images import explain_missing
from close_transfer.data.sources.official_files import find_file, get_image_folder
from close_transfer.data.sources.published import ORIGINS, Published, find_published_size
from close_transfer.data.sources.vqa import format_coco_image_name

# Opening all images of a dataset takes hours; a few of them, spread evenly, show a damaged or wrong download.
_NUM_OPENED = 20

State = Literal["complete", "uncounted", "subset", "larger", "damaged", "unreadable", "missing"]


@dataclass(frozen=True)
class ImageCheck:
    """The images that one split names.

    Attributes:
        folder: where they should be.
        num_named: different images named.
        num_there: existing files with these names; only a few of them are opened.
        unreadable: error messages of the opened files that cannot be used.
    """

    folder: Path
    num_named: int
    num_there: int
    unreadable: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Return True if all images exist, and none of the opened ones is damaged."""
        return self.num_there == self.num_named and not self.unreadable


@dataclass
class FileCheck:
    """State of one file of a dataset.

    Attributes:
        role: the split, or another purpose of the file ("captions of train").
        path: path of the file, or its expected path if it is missing.
        state: "complete" as published; "uncounted" if no count is published; "subset" and "larger" if
            it differs from what is published; "damaged" if some entries cannot be used; "unreadable"
            if none can; "missing".
        published: the published size, if there is one.
        examples: the usable examples.
        fault: the message about the unusable entries; empty if there are none.
        notes: facts for the user, such as counts of entries that are left out.
        images: check of the images that the examples name; None if they name none.
        num_uncaptioned: number of questions about images that have no caption in the captions file.
    """

    role: str
    path: Path
    state: State
    published: Published | None = None
    examples: Sequence[Example] = field(default_factory=list, repr=False)
    fault: str = ""
    notes: list[str] = field(default_factory=list)
    images: ImageCheck | None = None
    num_uncaptioned: int = 0

    @property
    def is_usable(self) -> bool:
        """Return True if the file holds at least one usable example."""
        return bool(self.examples)

    @property
    def num_captions(self) -> int:
        """Return the number of captions of all its images together."""
        return sum(len(example.texts) for example in self.examples)


@dataclass
class DataCheck:
    """State of one dataset.

    Attributes:
        choice: name of the dataset in `data=`.
        overrides: further settings of the data that the user gave.
        data: settings of the dataset.
        splits: the file that lists the examples of each split.
        others: other files that the splits need.
        leaks: training text that is also evaluation text; None if it was not requested or a split is missing.
    """

    choice: str
    overrides: tuple[str, ...]
    data: PublishedData
    splits: dict[str, FileCheck]
    others: list[FileCheck]
    leaks: Leaks | None = None

    @property
    def kind(self) -> ExampleKind:
        """Return the kind of its examples."""
        return EXAMPLE_KINDS[self.data.provides[0]]

    @property
    def evaluation_split(self) -> str:
        """Return the test split, or the validation split if the test split has no file or no answers."""
        return self.data.find_evaluation_split()

    @property
    def is_complete(self) -> bool:
        """Return True if every file is complete, and the images that an evaluation needs exist."""
        images = self.splits[self.evaluation_split].images
        return all(check.state in ("complete", "uncounted") for check in [*self.splits.values(), *self.others]) and (
            images is None or images.is_complete
        )


def _load(data: PublishedData, split: str) -> tuple[LoadedSplit | None, str]:
    """Return the usable examples of a split, or None, and the message about the unusable ones."""

    def load(on_bad_rows: OnBadRows) -> LoadedSplit:
        readable = cast(DataConfig, data.model_copy(update={"on_bad_rows": on_bad_rows}))
        return load_examples(readable, EXAMPLE_KINDS[data.provides[0]], split, texts_needed=False)

    try:
        return load("error"), ""
    except UserError as error:
        fault = str(error)
    try:
        return load("skip"), fault
    except UserError as error:
        return None, str(error)


def _determine_state(loaded: LoadedSplit, fault: str, published: Published | None) -> State:
    if fault:
        return "damaged"
    if published is None:
        return "uncounted"
    num, num_captions = len(loaded.examples), sum(len(example.texts) for example in loaded.examples)
    expected = published.num_captions if published.num_captions is not None else num_captions
    if (num, num_captions) == (published.num, expected):
        return "complete"
    return "larger" if num > published.num or num_captions > expected else "subset"


def _check_file(data: PublishedData, split: FileSplit, role: str) -> FileCheck:
    name = data.files[split]
    path = find_file(Path(data.root), name)
    if path is None:
        return FileCheck(role, Path(data.root, name), "missing")
    named_split = data.name_published_split(split)
    published = find_published_size(data.name, named_split, path)
    loaded, fault = _load(data, split)
    if loaded is None:
        return FileCheck(role, path, "unreadable", published, fault=fault)
    notes = [*loaded.notes, *(f"{count:,} {reason}, left out" for reason, count in loaded.skipped.items())]
    domains = Counter(example.category for example in loaded.examples if data.has_domains and example.category)
    if domains:
        notes.append(", ".join(f"{count:,} {domain}" for domain, count in domains.items()))
    return FileCheck(role, path, _determine_state(loaded, fault, published), published, loaded.examples, fault, notes)


def _check_images(data: PublishedData, split: str, examples: Iterable[Example]) -> ImageCheck | None:
    named = {example.image.key: example.image for example in examples if example.image is not None}
    if not named:
        return None
    present = [ref for ref in named.values() if not explain_missing(ref)]
    unreadable = []
    for ref in present[:: max(1, len(present) // _NUM_OPENED)][:_NUM_OPENED]:
        try:
            ref.open()
        except UserError as error:
            unreadable.append(str(error))
    return ImageCheck(get_image_folder(data, split), len(named), len(present), tuple(unreadable))


def _check_answers(data: PublishedData, split: FileSplit) -> FileCheck | None:
    """Return the check of a split's answers file if it is missing; else None, because questions are read with it."""
    name = data.answer_files.get(split)
    if name is not None and find_file(Path(data.root), name) is None:
        return FileCheck(f"answers of {split}", Path(data.root, name), "missing")
    return None


def _get_image_number(name: str) -> str:
    return name.rpartition("_")[2]


def _check_captions(data: PublishedData, captions: PublishedData, split: FileSplit, questions: FileCheck) -> FileCheck:
    """Return the check of the captions; record in `questions` how many of them are about uncaptioned images."""
    check = _check_file(captions, split, f"captions of {split}")
    # The part of COCO in a name is that of the file of questions, so images are compared by the name's last part, the id.
    captioned = {_get_image_number(format_coco_image_name("", example.id)) for example in check.examples}
    uncaptioned = [
        question
        for question in questions.examples
        if question.image is not None and _get_image_number(question.image.key) not in captioned
    ]
    if check.is_usable and uncaptioned:
        questions.num_uncaptioned = len(uncaptioned)
        questions.notes.append(
            f"{len(uncaptioned):,} questions are about images without a caption in {check.path.name}; "
            "runs on text leave them out with data.on_missing_scene=skip"
        )
    return check


def _find_split_leaks(check: DataCheck) -> Leaks | None:
    train, test = check.splits.get("train"), check.splits.get(check.evaluation_split)
    if check.data.build_text_source() is not None:
        captions = {other.role: other for other in check.others}
        train = captions.get("captions of train")
        test = captions.get(f"captions of {check.evaluation_split}")
    if train is None or test is None or not (train.is_usable and test.is_usable):
        return None
    return find_leaks(
        collect_training_texts(train.examples, check.kind), collect_evaluation_texts(test.examples, check.kind)
    )


def check_data(data: DataConfig, choice: str, overrides: Sequence[str] = (), leakage: bool = False) -> DataCheck:
    """Read the existing files of a published dataset with the readers of training, and compare their counts.

    Args:
        data: settings of the dataset.
        choice: name of the dataset in `data=`.
        overrides: further settings of the data, as the user gave them; for the commands that are shown.
        leakage: True to search the training text for evaluation text.

    Raises:
        UserError: if the dataset is not a published one.
    """
    if not data.is_published:
        raise UserError(
            f"data={choice}: is not a published dataset, so there is nothing to compare with. Use one of "
            f"{', '.join(ORIGINS)} and all"
        )
    published = cast(PublishedData, data)
    check = DataCheck(choice, tuple(overrides), published, {}, [])
    splits = [split for split in get_args(FileSplit) if split in published.files]
    captions = cast(PublishedData | None, published.build_text_source())
    for split in (bar := tqdm(splits, leave=False, disable=None)):
        bar.set_description(f"reading {split}")
        readable = published
        if missing_answers := _check_answers(published, split):
            check.others.append(missing_answers)
            readable = published.remove_answers(split)
        split_check = _check_file(readable, split, split)
        split_check.images = _check_images(published, split, split_check.examples)
        check.splits[split] = split_check
        if captions is not None and split in captions.files:
            check.others.append(_check_captions(published, captions, split, split_check))
    if leakage:
        check.leaks = _find_split_leaks(check)
    return check
