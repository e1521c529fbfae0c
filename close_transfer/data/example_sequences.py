"""Sequences of examples, and of their texts, that build each item when it is read, because there may be millions."""

from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import overload

import numpy as np

from close_transfer.core.arrays import IntArray
from close_transfer.core.packed_records import PackedRecords
from close_transfer.data.examples import Example, ImageRef

Texts = tuple[str, ...]


class _ExampleSequence(Sequence[Example]):
    """Sequence that reads slices as lists, and counts and reads texts without building the examples."""

    @overload
    def __getitem__(self, row: int) -> Example: ...

    @overload
    def __getitem__(self, row: slice) -> list[Example]: ...

    def __getitem__(self, row: int | slice) -> Example | list[Example]:
        numbers = range(len(self))[row]
        return self._read(numbers) if isinstance(numbers, int) else [self._read(number) for number in numbers]

    @abstractmethod
    def _read(self, row: int) -> Example:
        """Return the example of a row, which is in the range."""

    @abstractmethod
    def count_texts(self) -> IntArray:
        """Return the number of texts of each example, shape (examples,)."""

    @abstractmethod
    def get_texts(self, row: int) -> Texts:
        """Return the texts of an example."""

    def iterate_texts(self) -> Iterator[Texts]:
        """Yield the texts of each example."""
        return map(self.get_texts, range(len(self)))


_TEXTS = 1  # place of the texts among the fields that `PackedExamples` keeps


class PackedExamples(_ExampleSequence):
    """Examples kept as bytes, without their images, which a function returns by number."""

    def __init__(self, get_image: Callable[[int], ImageRef | None]) -> None:
        """Start without examples; `get_image` takes the number that an example was appended with."""
        self._get_image = get_image
        self._records = PackedRecords(self._build)
        self._num_texts = array("i")

    def append(self, example: Example, image_number: int) -> None:
        """Append an example; the number gives its image, and the example's own image is not kept."""
        self._records.append_fields(
            example.id, example.texts, image_number, example.prompt, example.targets, example.references,
            example.category, example.subcategory,
        )  # fmt: skip
        self._num_texts.append(len(example.texts))

    def _build(self, identifier: str, texts: Texts, image_number: int, *others: str) -> Example:
        return Example(identifier, texts, self._get_image(image_number), *others)  # type: ignore[arg-type]

    def count_texts(self) -> IntArray:
        return np.array(self._num_texts, dtype=np.int64)

    def get_texts(self, row: int) -> Texts:
        return self._records.read_fields(row)[_TEXTS]

    def __len__(self) -> int:
        return len(self._records)

    def _read(self, row: int) -> Example:
        return self._records[row]

    def __iter__(self) -> Iterator[Example]:
        return iter(self._records)


def count_texts(examples: Sequence[Example]) -> IntArray:
    """Return the number of texts of each example, shape (examples,)."""
    if isinstance(examples, _ExampleSequence):
        return examples.count_texts()
    return np.fromiter((len(example.texts) for example in examples), dtype=np.int64, count=len(examples))


def _get_texts(examples: Sequence[Example], row: int) -> Texts:
    return examples.get_texts(row) if isinstance(examples, _ExampleSequence) else examples[row].texts


def _iterate_texts(examples: Sequence[Example]) -> Iterator[Texts]:
    if isinstance(examples, _ExampleSequence):
        return examples.iterate_texts()
    return (example.texts for example in examples)


class _TextPlaces:
    """Places of the texts of some scenes, one scene after the other.

    Attributes:
        starts: place of each scene's first text, and the number of texts, shape (scenes + 1,).
    """

    def __init__(self, scenes: Sequence[Example]) -> None:
        counts = count_texts(scenes)
        self.starts = np.concatenate([[0], counts.cumsum()])
        self._has_single_texts = bool((counts == 1).all())

    def find(self, place: int) -> tuple[int, int]:
        """Return the scene of a text, and the number of the text in it."""
        if self._has_single_texts:
            return place, 0
        scene = int(np.searchsorted(self.starts, place, side="right")) - 1
        return scene, place - int(self.starts[scene])


class ExamplesPerText(_ExampleSequence):
    """One example with one text for each text of some scenes, in order."""

    def __init__(
        self,
        scenes: Sequence[Example],
        build: Callable[[Example, int], Example],
        choose_text: Callable[[Texts, int], Texts],
    ) -> None:
        """Keep the scenes.

        Args:
            scenes: scenes with any number of texts.
            build: returns the example of a scene and the number of one of its texts.
            choose_text: returns the text of that example, from the scene's texts and the number.
        """
        self._scenes, self._build, self._choose_text = scenes, build, choose_text
        self._places = _TextPlaces(scenes)

    def count_texts(self) -> IntArray:
        return np.ones(len(self), dtype=np.int64)

    def get_texts(self, row: int) -> Texts:
        scene, number = self._places.find(row)
        return self._choose_text(_get_texts(self._scenes, scene), number)

    def iterate_texts(self) -> Iterator[Texts]:
        return (
            self._choose_text(texts, number) for texts in _iterate_texts(self._scenes) for number in range(len(texts))
        )

    def __len__(self) -> int:
        return int(self._places.starts[-1])

    def _read(self, row: int) -> Example:
        scene, number = self._places.find(row)
        return self._build(self._scenes[scene], number)

    def __iter__(self) -> Iterator[Example]:
        return (self._build(scene, number) for scene in self._scenes for number in range(len(scene.texts)))


class SceneTexts(Sequence[str]):
    """Texts of some scenes, one scene after the other."""

    def __init__(self, scenes: Sequence[Example]) -> None:
        self._scenes, self._places = scenes, _TextPlaces(scenes)

    @property
    def starts(self) -> IntArray:
        """Return the place of each scene's first text, and the number of texts, shape (scenes + 1,)."""
        return self._places.starts

    def __len__(self) -> int:
        return int(self.starts[-1])

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> list[str]: ...

    def __getitem__(self, row: int | slice) -> str | list[str]:
        numbers = range(len(self))[row]
        return self._read(numbers) if isinstance(numbers, int) else [self._read(number) for number in numbers]

    def _read(self, row: int) -> str:
        scene, number = self._places.find(row)
        return _get_texts(self._scenes, scene)[number]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(_iterate_texts(self._scenes))
