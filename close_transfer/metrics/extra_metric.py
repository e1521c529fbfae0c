"""Base class of the metrics that are computed only on request, and the captions that they score."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from close_transfer.core.arrays import Float32Array, Float64Array


class SceneEncoder(Protocol):
    """Encoder of texts and images, with the images of the scored examples."""

    def encode_images(self) -> Float32Array:
        """Return raw vectors of the examples' images; shape (examples, dim)."""

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Return raw vectors of these texts; shape (texts, dim)."""


@dataclass(frozen=True)
class MetricInputs:
    """Captions to score.

    Attributes:
        captions: one caption per example.
        references: one or more captions per example, in the same order.
        encoder: encoder of both; None for metrics that need no images.
    """

    captions: Sequence[str]
    references: Sequence[Sequence[str]]
    encoder: SceneEncoder | None = None


class ExtraMetric(ABC):
    """Metric of captions that `extra_metrics=` adds to the usual ones.

    Attributes:
        score_names: names of its scores in `results.json` and tables.
        needs_images: True if it compares captions with images, by an encoder of both.
    """

    score_names: ClassVar[tuple[str, ...]]
    needs_images: ClassVar[bool] = False

    def check_requirements(self) -> None:  # noqa: B027  (most metrics need nothing)
        """Check that the programs and files that it needs exist, before anything slow is done.

        Raises:
            UserError: names the missing ones.
        """

    @abstractmethod
    def score(self, inputs: MetricInputs) -> Mapping[str, Float64Array]:
        """Return each example's scores by score name, shape (examples,) each; higher is better, usually 0 to 100."""
