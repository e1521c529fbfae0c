"""Base class of the metrics that are computed only on request, and what they score."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from close_transfer.core.arrays import Float32Array, Float64Array


class SceneEncoder(Protocol):
    """An encoder of texts and images, with the images of the scored examples."""

    def encode_images(self) -> Float32Array:
        """Raw vectors of the examples' images; shape (examples, dim)."""

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Raw vectors of these texts; shape (texts, dim)."""


@dataclass(frozen=True)
class MetricInputs:
    """The captions to score.

    Attributes:
        captions: one per example.
        references: one or more per example, in the same order.
        encoder: None for metrics that need no images.
    """

    captions: Sequence[str]
    references: Sequence[Sequence[str]]
    encoder: SceneEncoder | None = None


class ExtraMetric(ABC):
    """One metric of captions that `extra_metrics=` adds to the usual ones.

    Attributes:
        score_names: names of its scores, as `results.json` and tables show them.
        needs_images: it compares captions with images, by an encoder of both.
    """

    score_names: ClassVar[tuple[str, ...]]
    needs_images: ClassVar[bool] = False

    def check_requirements(self) -> None:  # noqa: B027  (most metrics need nothing)
        """Check for programs and files that it needs, before anything slow is done.

        Raises:
            UserError: that names what is missing.
        """

    @abstractmethod
    def score(self, inputs: MetricInputs) -> Mapping[str, Float64Array]:
        """Return every example's value by score name, shape (examples,) each; higher is better, usually 0 to 100."""
