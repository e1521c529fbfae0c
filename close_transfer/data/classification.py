"""Images with one class each, of Picturebook, of a folder with a subfolder per class, or of a table."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from close_transfer.core.arrays import IntArray
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example
from close_transfer.data.image_files import find_images
from close_transfer.data.sources.images import make_file_ref

Purpose = Literal["test", "validation"]
# Activity that images other than those of training are for, in messages.
_ACTIVITIES = {"test": "testing", "validation": "validation"}


@dataclass(frozen=True)
class Classification:
    """Classification of images: examples whose `category` is their class.

    Attributes:
        name: name in metrics, such as "kinds".
        classes: names of all classes.
        training, testing: examples with an image and a class each.
        class_texts: sentences about each class, for zero-shot classification; empty to use templates.
        purpose: purpose of `testing`, for messages.
    """

    name: str
    classes: tuple[str, ...]
    training: Sequence[Example]
    testing: Sequence[Example]
    class_texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    purpose: Purpose = "test"

    def __post_init__(self) -> None:
        seen = {example.category for example in self.training}
        unseen = sorted({example.category for example in self.testing} - {*self.classes})
        if len(seen) < 2 or not self.testing:
            raise UserError(
                f"{self.name}: there are {len(seen)} classes with training images and {len(self.testing):,} "
                f"{self.purpose} images. Give data with at least two classes and one {self.purpose} image"
            )
        check_no_shared_images(self.name, self.training, self.testing, self.purpose)
        if unseen:
            raise UserError(
                f"{self.name}: {len(unseen)} classes of the {self.purpose} images have no training image; the first is "
                f"{unseen[0]}. Use the same names of classes for training and for {_ACTIVITIES[self.purpose]}"
            )


def check_no_shared_images(
    name: str, training: Sequence[Example], testing: Sequence[Example], purpose: Purpose
) -> None:
    """Check that images are not training images too.

    Args:
        name: name of the data or the setting, for the message.
        training: examples to train on.
        testing: examples that must be others.
        purpose: purpose of `testing`.

    Raises:
        UserError: if an image is in both.
    """
    trained = {_get_key(example) for example in training}
    if shared := [example.id for example in testing if _get_key(example) in trained]:
        raise UserError(
            f"{name}: {len(shared):,} {purpose} images are training images too; the first is {shared[0]}. Give "
            f"other images for {_ACTIVITIES[purpose]}, or another split"
        )


def _get_key(example: Example) -> str:
    return example.id if example.image is None else example.image.key


def number_classes(examples: Sequence[Example], classes: Sequence[str]) -> IntArray:
    """Return the position of each example's class in `classes`, shape (examples,)."""
    positions = {name: position for position, name in enumerate(classes)}
    return np.asarray([positions[example.category] for example in examples], dtype=np.int64)


def read_class_folders(root: Path, setting: str) -> list[Example]:
    """Return an example per image below `root`; its class is the name of the subfolder of `root` that it is in.

    Args:
        root: folder with a subfolder per class.
        setting: setting that names it, for messages.

    Raises:
        UserError: if there is no image, an image is not in a subfolder, or a folder cannot be listed.
    """
    if not root.is_dir():
        raise UserError(f"{setting}={root}: there is no such folder. Give a folder with a subfolder per class")
    examples = []
    for name, path in _list_images(root, setting):
        category, _, rest = name.partition("/")
        if not rest:
            raise UserError(
                f"{setting}={root}: {name} is not in a subfolder, so its class is not known. Give a folder with a "
                "subfolder per class"
            )
        examples.append(Example(name, (), make_file_ref(path, str(path)), category=category))
    return examples


def read_unlabelled_folder(root: Path, setting: str) -> list[Example]:
    """Return an example without a class per image in `root` and below.

    Args:
        root: folder of images.
        setting: setting that names it, for messages.

    Raises:
        UserError: if there is no image, or a folder cannot be listed.
    """
    return [Example(name, (), make_file_ref(path, str(path))) for name, path in _list_images(root, setting)]


def _list_images(root: Path, setting: str) -> list[tuple[str, Path]]:
    """Return id and path of each image."""
    found = find_images(root, setting)
    for folder, reason in found.faults:
        raise UserError(
            f"{setting}={root}: the folder {folder} cannot be listed ({reason}). Give permission to read it"
        )
    return found.files


def build_no_classes_error(name: str) -> UserError:
    """Return the error about data that have captions and no classes.

    Args:
        name: name of the data.
    """
    return UserError(
        f"data={name} has captions and no classes. Use data=picturebook, data=file or data=huggingface with the "
        "class as text, or images=FOLDER with a subfolder per class"
    )


def take_texts_as_classes(examples: Sequence[Example]) -> list[Example]:
    """Return examples of a table whose class is their text.

    Raises:
        UserError: if an image has several texts.
    """
    labelled = []
    for example in examples:
        classes = list(dict.fromkeys(example.texts))  # an image may be in several rows
        if len(classes) != 1:
            raise UserError(
                f"example {example.id} has {len(classes)} classes ({', '.join(classes[:3])}). Give data with one class per "
                "image"
            )
        labelled.append(Example(example.id, (), example.image, category=classes[0]))
    return labelled


def hold_out(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Return training and test examples: `share` of each class is drawn for testing, at least one image of two."""
    by_class: dict[str, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        by_class[example.category].append(row)
    rng = np.random.default_rng(seed)
    tested: set[int] = set()
    for rows in by_class.values():
        num_tested = min(len(rows) - 1, max(1, round(share * len(rows))))  # a class always keeps a training image
        tested |= {rows[i] for i in rng.permutation(len(rows))[:num_tested]}
    return (
        [example for row, example in enumerate(examples) if row not in tested],
        [example for row, example in enumerate(examples) if row in tested],
    )
