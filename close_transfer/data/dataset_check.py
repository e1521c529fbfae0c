"""Checks what is there of a published dataset: files, counts, images, and what can be run with them."""

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

_NUM_OPENED = 20

State = Literal["complete", "uncounted", "subset", "larger", "damaged", "unreadable", "missing"]


@dataclass(frozen=True)
class ImageCheck:
    """The images that one split names.

    Attributes:
        folder: where they should be.
        num_named: different images named.
        num_there: files of these names; only a few of them are opened.
        unreadable: what is wrong with those of the opened ones that cannot be used.
    """

    folder: Path
    num_named: int
    num_there: int
    unreadable: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether all are there, and none that was opened is damaged."""
        return self.num_there == self.num_named and not self.unreadable


@dataclass
class FileCheck:
    """One file.

    Attributes:
        role: the split, or what else the file is for ("captions of train").
        path: where it is, or where it should be.
        state: "complete" as published; "uncounted" if no count is published; "subset" and "larger" if
            it differs from what is published; "damaged" if some entries cannot be used; "unreadable"
            if none can; "missing".
        published: the published size, if there is one.
        examples: what can be used of it.
        fault: the message about what cannot be used.
        notes: what was left out, and what else a user should know.
        images: of a split whose examples name images.
        num_uncaptioned: questions about images without a caption in the file of captions.
    """

    role: str
    path: Path
    state: State
    published: Published | None = None
    examples: list[Example] = field(default_factory=list, repr=False)
    fault: str = ""
    notes: list[str] = field(default_factory=list)
    images: ImageCheck | None = None
    num_uncaptioned: int = 0

    @property
    def is_usable(self) -> bool:
        """Whether there is anything to use in it."""
        return bool(self.examples)

    @property
    def num_captions(self) -> int:
        """Captions of all its images together."""
        return sum(len(example.texts) for example in self.examples)


@dataclass
class DataCheck:
    """All about one dataset.

    Attributes:
        choice: its name in `data=`.
        overrides: further settings of the data that the user gave.
        data: its settings.
        splits: by split, the file that lists its examples.
        others: files that the splits need besides.
        leaks: what of the training text is evaluation text, if that was asked for and both are there.
    """

    choice: str
    overrides: tuple[str, ...]
    data: PublishedData
    splits: dict[str, FileCheck]
    others: list[FileCheck]
    leaks: Leaks | None = None

    @property
    def kind(self) -> ExampleKind:
        """The kind of its examples."""
        return EXAMPLE_KINDS[self.data.provides[0]]

    @property
    def evaluation_split(self) -> str:
        """The test split, or the validation split where that has no file or no answers."""
        return self.data.find_evaluation_split()

    @property
    def is_complete(self) -> bool:
        """Whether every file is there and whole, with the images that an evaluation needs."""
        images = self.splits[self.evaluation_split].images
        return all(check.state in ("complete", "uncounted") for check in [*self.splits.values(), *self.others]) and (
            images is None or images.is_complete
        )


def _load(data: PublishedData, split: str) -> tuple[LoadedSplit | None, str]:
    """What can be used of a split, and what is wrong with the rest."""

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
    """Return the missing file with the answers of a split; one that is there is read with the questions."""
    name = data.answer_files.get(split)
    if name is not None and find_file(Path(data.root), name) is None:
        return FileCheck(f"answers of {split}", Path(data.root, name), "missing")
    return None


def _check_captions(data: PublishedData, captions: PublishedData, split: FileSplit, questions: FileCheck) -> FileCheck:
    """Return the state of the scenes' texts; note in `questions` how many are about images without any."""
    check = _check_file(captions, split, f"captions of {split}")
    captioned = {format_coco_image_name(get_image_folder(data, split), example.id) for example in check.examples}
    uncaptioned = [
        question
        for question in questions.examples
        if question.image is not None and question.image.key not in captioned
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
    """Reads what is there of a published dataset with the readers that training uses, and counts it.

    Args:
        data: its settings.
        choice: its name in `data=`.
        overrides: further settings of the data, as the user gave them; for the commands that are shown.
        leakage: whether to look for training text in the evaluation split.

    Raises:
        UserError: if the data is no published dataset.
    """
    if not data.is_published:
        raise UserError(
            f"data={choice}: is no published dataset, so there is nothing to compare with; allowed are {', '.join(ORIGINS)} and all"
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
