"""Classes of the images that a classifier is trained on: several per image for Picturebook, else one."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from close_transfer.config.data import DataConfig, PicturebookData
from close_transfer.core.arrays import IntArray
from close_transfer.data.classification import Classification, build_no_classes_error, take_texts_as_classes
from close_transfer.data.examples import Example, get_scene_key, group_by_scene
from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.classes import list_kinds

Labels = NDArray[np.bool_] | IntArray


@dataclass(frozen=True)
class ImageLabels:
    """Classes of the images of training and validation examples.

    Attributes:
        classes: names of all classes.
        training, validation: True for each class in the image, shape (examples, classes), bool; or the number of its
            only class, shape (examples,), int64.
    """

    classes: tuple[str, ...]
    training: Labels
    validation: Labels


def check_has_classes(data: DataConfig) -> None:
    """Check that the images of these data have classes.

    Raises:
        UserError: if they have captions only.
    """
    if not (data.is_generated or data.is_table):
        raise build_no_classes_error(data.name)


def label_kinds(data: PicturebookData, training: Sequence[Example], validation: Sequence[Example]) -> ImageLabels:
    """Return the kinds of things in each of Picturebook's images."""
    kinds = tuple(world.KINDS)

    def label(examples: Sequence[Example], present: Mapping[str, Set[str]]) -> Labels:
        rows = [[kind in present[get_scene_key(example)] for kind in kinds] for example in examples]
        return np.asarray(rows, dtype=bool)

    return ImageLabels(kinds, label(training, list_kinds(data, "train")), label(validation, list_kinds(data, "val")))


def label_by_text(training: Sequence[Example], validation: Sequence[Example]) -> ImageLabels:
    """Return the class of each image, which is its only text.

    Raises:
        UserError: if an image has several texts, or the two parts do not fit together.
    """
    trained, validated = (take_texts_as_classes(group_by_scene(examples)) for examples in (training, validation))
    classes = tuple(sorted({example.category for example in trained}))
    Classification("classes", classes, trained, validated, purpose="validation")  # checks them
    numbers = {name: number for number, name in enumerate(classes)}

    def label(examples: Sequence[Example]) -> Labels:
        return np.asarray([numbers[example.texts[0]] for example in examples], dtype=np.int64)

    return ImageLabels(classes, label(training), label(validation))
