"""Examples and predictions: the records that all data sources, tasks and models share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from PIL import Image

from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.digests import compute_digest, find_first_equal, pack_digests

T = TypeVar("T")


@dataclass(frozen=True)
class ImageRef:
    """An image that is not opened yet.

    Attributes:
        key: name of the image, the same on any machine; unique within its split.
        open: function that reads or draws the image, as RGB. It can be pickled, for worker processes.
        digest: function that fingerprints the image's content, so that its vector can be cached.
        row: line of the file it came from, from 0; precomputed embeddings are indexed by it.
    """

    key: str
    open: Callable[[], Image.Image]
    digest: Callable[[], str]
    row: int | None = None


@dataclass(frozen=True, slots=True)  # slots, because there may be millions
class Example:
    """One scene with a prompt and the expected answers.

    Attributes:
        id: unique within its split.
        texts: descriptions of the scene. Several are averaged into one vector before
            normalising (CLOSE's scene text for VQA).
        image: image of the scene; None if there is none.
        prompt: question, hypothesis or article; empty for captioning.
        targets: texts that the model should write. Several are separate targets of one scene.
        references: texts that predictions are scored against: captions, the gold label, or one answer
            per annotator.
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
    """Return a key that is equal for examples of one scene: the image's name, or the texts without an image."""
    return example.image.key if example.image else "\x1f".join(example.texts)


def group_by_scene(examples: Iterable[Example]) -> list[Example]:
    """Return one example per scene, with all its distinct texts: several questions about an image are one scene."""
    texts: dict[str, dict[str, None]] = {}
    first: dict[str, Example] = {}
    for example in examples:
        key = get_scene_key(example)
        first.setdefault(key, example)
        texts.setdefault(key, {}).update(dict.fromkeys(example.texts))
    return [replace(example, texts=tuple(texts[key])) for key, example in first.items()]


def sample(items: Sequence[T], max_items: int | None, seed: int) -> list[T]:
    """Draw at most `max_items` of the items by the seed, in their order; all if `max_items` is None."""
    if max_items is None or len(items) <= max_items:
        return list(items)
    indices = np.sort(np.random.default_rng(seed).choice(len(items), max_items, replace=False))
    return [items[i] for i in indices]


def sample_scenes(examples: Sequence[Example], max_scenes: int | None, seed: int) -> list[Example]:
    """Draw at most `max_scenes` scenes by the seed, each as `group_by_scene` returns it, in their order.

    Only the examples of drawn scenes are held in memory.
    """
    first_of_scene = find_first_equal(pack_digests(compute_digest(get_scene_key(example)) for example in examples))
    firsts = np.flatnonzero(first_of_scene == np.arange(len(first_of_scene)))
    is_drawn = np.zeros(len(first_of_scene), dtype=bool)
    is_drawn[sample(firsts.tolist(), max_scenes, seed)] = True
    return group_by_scene(examples[row] for row in np.flatnonzero(is_drawn[first_of_scene]).tolist())


def fingerprint_examples(examples: Iterable[Example]) -> str:
    """Return a fingerprint of the examples' whole content, images by their keys."""
    return fingerprint(
        "\x1f".join(
            (e.id, *e.texts, "\x1e", e.image.key if e.image else "", e.prompt, *e.targets, "\x1e", *e.references)
        )
        for e in examples
    )


@dataclass(frozen=True)
class Prediction:
    """Answer of a model to one example.

    Attributes:
        id: id of the example.
        candidates: generated texts, best first.
        scores: log-probability of each candidate as beam search ranks it (length-normalised).
        similarities: cosine of each candidate with the input, if candidates were re-ranked by it; else empty.
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
        """Return the answer: the likeliest label if the task has labels, else the best candidate."""
        return self.label or self.candidates[0]

    def as_dict(self) -> dict[str, object]:
        """Return the fields of a line in a predictions file."""
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
