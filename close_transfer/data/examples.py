"""The one record in which every source and every task meet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from PIL import Image

from close_transfer.core.atomic_files import fingerprint

T = TypeVar("T")


@dataclass(frozen=True)
class ImageRef:
    """An image that nobody has opened yet.

    Attributes:
        key: its name, the same on any machine; unique within its split.
        open: reads or draws the image, as RGB.
        digest: a fingerprint of what the image shows, so that vectors can be kept under it.
        row: line of the file it came from, counted from 0; precomputed embeddings go by it.
    """

    key: str
    open: Callable[[], Image.Image]
    digest: Callable[[], str]
    row: int | None = None


@dataclass(frozen=True)
class Example:
    """One scene, what is asked of it, and what should be answered.

    Attributes:
        id: unique within its split.
        texts: what stands for the scene in words. Several are averaged into one vector before
            normalising (CLOSE's scene text for VQA).
        image: what stands for the scene in images; None where there is none.
        prompt: question, hypothesis or article; empty for captioning.
        targets: what the model should write. Several are separate targets of one scene.
        references: what predictions are scored against: captions, the gold label, or one answer
            an annotator.
        category: label or answer type, for scores by category.
        subcategory: question type, for scores by it.
    """

    id: str
    texts: tuple[str, ...]
    image: ImageRef | None = None
    prompt: str = ""
    targets: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    category: str = ""
    subcategory: str = ""


def get_scene_key(example: Example) -> str:
    """What tells scenes apart: the image's name, which is not opened, or the texts where there is none."""
    return example.image.key if example.image else "\x1f".join(example.texts)


def group_by_scene(examples: Iterable[Example]) -> list[Example]:
    """One example a scene, with all its distinct texts: several questions about an image are one scene."""
    texts: dict[str, dict[str, None]] = {}
    first: dict[str, Example] = {}
    for example in examples:
        key = get_scene_key(example)
        first.setdefault(key, example)
        texts.setdefault(key, {}).update(dict.fromkeys(example.texts))
    return [replace(example, texts=tuple(texts[key])) for key, example in first.items()]


def sample(items: Sequence[T], max_items: int | None, seed: int) -> list[T]:
    """At most so many of the items, drawn by the seed, in their order; all of them where `max_items` is None."""
    if max_items is None or len(items) <= max_items:
        return list(items)
    indices = np.sort(np.random.default_rng(seed).choice(len(items), max_items, replace=False))
    return [items[i] for i in indices]


def fingerprint_examples(examples: Iterable[Example]) -> str:
    """A fingerprint of all that is in the examples, images by their keys."""
    return fingerprint(
        "\x1f".join(
            (e.id, *e.texts, "\x1e", e.image.key if e.image else "", e.prompt, *e.targets, "\x1e", *e.references)
        )
        for e in examples
    )


@dataclass(frozen=True)
class Prediction:
    """What a model answered to one example.

    Attributes:
        id: the example's.
        candidates: generated texts, best first.
        scores: log-probability of each candidate as beam search ranks it (length-normalised).
        similarities: cosine of each candidate with what was shown, where candidates were ranked by it; else empty.
        label: the task's label of highest likelihood; empty for tasks without fixed labels.
        label_scores: log-likelihood of every label of the task, in the task's order.
    """

    id: str
    candidates: tuple[str, ...]
    scores: tuple[float, ...]
    label: str = ""
    label_scores: tuple[float, ...] = ()
    similarities: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """The answer: the likeliest label where the task has labels, else the best candidate."""
        return self.label or self.candidates[0]

    def as_dict(self) -> dict[str, object]:
        """The line of a predictions file."""
        line: dict[str, object] = {
            "id": self.id,
            "prediction": self.text,
            "candidates": list(self.candidates),
            "scores": list(self.scores),
        }
        if self.label:
            line["label_scores"] = list(self.label_scores)
        if self.similarities:
            line["similarities"] = list(self.similarities)
        return line
