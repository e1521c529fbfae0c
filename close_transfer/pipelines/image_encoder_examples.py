"""Images of a training without language: those of data=, in the order of a captioner's training, or those of a folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.data import PicturebookData
from close_transfer.config.train_image_encoder import TrainImageEncoderConfig
from close_transfer.core.errors import UserError
from close_transfer.data.classification import (
    check_no_shared_images,
    hold_out,
    read_class_folders,
    read_unlabelled_folder,
)
from close_transfer.data.examples import Example
from close_transfer.data.image_labels import ImageLabels, Labels, check_has_classes, label_by_text, label_kinds
from close_transfer.pipelines.captioned_training import load_captioned_data
from close_transfer.tasks import PreparedExamples
from close_transfer.training.training_data import TrainingData


@dataclass(frozen=True)
class ImageExamples:
    """Images with the texts that decide their order.

    Attributes:
        data: images with texts, as a captioner's training loads them.
        labels: classes of the image of each text, for objective=classes; else None.
        is_ordered_by_texts: True for the batches of a captioner, of texts of similar length; False for a random order.
    """

    data: TrainingData
    labels: ImageLabels | None
    is_ordered_by_texts: bool


def load_image_examples(config: TrainImageEncoderConfig) -> ImageExamples:
    """Load the images of a training, and their classes if it needs them.

    Raises:
        UserError: if the images or their classes cannot be used.
    """
    needs_classes = config.objective == "classes"
    if config.images is not None:
        data = _read_folders(config)
        return ImageExamples(data, _label_by_text(data) if needs_classes else None, is_ordered_by_texts=False)
    if not needs_classes:
        return ImageExamples(load_captioned_data(config), None, is_ordered_by_texts=True)
    check_has_classes(config.data)
    if config.data.is_generated:
        data = load_captioned_data(config)
        labels = _label_kinds(config.data, data)  # type: ignore[arg-type]  # Picturebook's settings
        return ImageExamples(data, labels, is_ordered_by_texts=True)
    # Classes are names, often of one word or a number, so the check of sentences does not apply.
    unchecked = config.data.model_copy(update={"check_text": False})
    data = load_captioned_data(config.model_copy(update={"data": unchecked}))
    # Texts of one length are often of one class, and a batch should have images of all.
    return ImageExamples(data, _label_by_text(data), is_ordered_by_texts=False)


def _label_by_text(data: TrainingData) -> ImageLabels:
    return label_by_text(data.training.examples, data.validation.examples)


def _label_kinds(settings: PicturebookData, data: TrainingData) -> ImageLabels:
    """Return the kinds of things in the image of each text."""
    training, validation = data.training.examples, data.validation.examples
    labels = label_kinds(settings, training, validation)
    return replace(
        labels,
        training=_repeat_for_targets(labels.training, training),
        validation=_repeat_for_targets(labels.validation, validation),
    )


def _repeat_for_targets(labels: Labels, examples: Sequence[Example]) -> Labels:
    repeated: Any = np.repeat(labels, [len(example.targets) for example in examples], axis=0)
    return repeated


def _read_folders(config: TrainImageEncoderConfig) -> TrainingData:
    """Return images whose only text is their class, which is empty without one.

    Raises:
        UserError: if a folder cannot be used, or no image is left for validation.
    """
    read = read_class_folders if config.objective == "classes" else read_unlabelled_folder
    assert config.images is not None
    training = read(Path(config.images), "images")
    if config.val_images is not None:
        validation = read(Path(config.val_images), "val_images")
        check_no_shared_images(f"val_images={config.val_images}", training, validation, "validation")
    else:
        training, validation = hold_out(training, config.used_val_share, config.seed)
    if not validation:
        raise UserError(
            f"images={config.images}: no image is left for validation. Give more images, or val_images=FOLDER"
        )
    return TrainingData("image", training, _add_texts(training), _add_texts(validation), Counter(), ())


def _add_texts(examples: Sequence[Example]) -> PreparedExamples:
    return PreparedExamples(
        [replace(example, texts=(example.category,), targets=(example.category,)) for example in examples]
    )
