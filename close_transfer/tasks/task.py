"""What a task is: it shapes examples for training and scores predictions. It knows text only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from close_transfer.config.choices import InputModality
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.bootstrap import Scores

# What stands in for the missing image when validating on text: a caption of the same scene that the
# target was not written from, or the text itself. Either gets the training noise.
ValidationInput = Literal["another caption of the same scene", "the same text"]


@dataclass(frozen=True)
class PreparedExamples:
    """Examples ready for training or validation, with what a user should know about them."""

    examples: list[Example]
    validation_input: ValidationInput = "the same text"
    notes: tuple[str, ...] = ()


class Task(Protocol):
    """One task: captioning, entailment, question answering.

    Attributes:
        name: as in `task=`.
        labels: what the answer must be one of, scored by likelihood; empty for free text.
    """

    name: str
    labels: tuple[str, ...]

    def for_training(self, examples: Sequence[Example]) -> PreparedExamples:
        """One example a training input, with its targets."""

    def for_validation(self, examples: Sequence[Example]) -> PreparedExamples:
        """Examples whose loss on text tells how an image would fare."""

    def for_testing(self, examples: Sequence[Example], input_modality: InputModality) -> list[Example]:
        """Examples as they are asked at test time; with `scene="text"` the text stands in."""

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int) -> Scores:
        """Metrics of predictions, one for each example in order."""


def keep_with_targets(example: Example, targets: Sequence[str]) -> Example:
    """The example with these targets."""
    return replace(example, targets=tuple(targets))
