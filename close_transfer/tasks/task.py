"""Base class of tasks: facts about a task, preparation of its examples, and scores of answers. It handles text only."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from close_transfer.config.choices import InputModality
from close_transfer.data.example_kinds import ExampleKind
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.bootstrap import Scores

# Input that replaces the image when validating on text: another caption of the same scene than the target, or the
# same text. Either gets the training noise.
ValidationInput = Literal["another caption of the same scene", "the same text"]


@dataclass(frozen=True)
class PreparedExamples:
    """Examples ready for training or validation, with what a user should know about them."""

    examples: Sequence[Example]
    validation_input: ValidationInput = "the same text"
    notes: tuple[str, ...] = ()


class Task(ABC):
    """One task, such as captioning, entailment or question answering.

    A class owns every fact about its task: other packages query the class and know no task by name. The first two
    attributes must be given. The defaults of the others suit a task that writes any text.

    Attributes:
        name: name in `task=`; also the name of its YAML file.
        reads: the kind of examples that it reads. Datasets that provide the kind serve the task.
        settings: names of its own settings in `TaskConfig`, which are the arguments of its constructor.
        labels: the allowed answers, scored by likelihood; empty for free text.
        verbatim_references: True if references are kept verbatim, because the scorer normalises them itself.
        has_several_answers: True if an input may have several right answers, which are scored together. If images are
            the input, rows of a table with one image and one prompt are then one example.
        ability: predicate of a sentence about a trained model ("captions images").
        method: the method of `TransferModel` for the task.
        example_prompt: a prompt for the example call in a model card, if the method takes one.
        pipeline_tag: the Hugging Face Hub's name for it.
        official_fields: names of the id and the answer in official results files; None if there is no such format.
        writes_captions: True if answers can be scored by SPICE and CLIPScore.
        zero_shot: the zero-shot baseline that applies: "choose" among common answers, "classify" by cosine, or None.
    """

    name: ClassVar[str]
    reads: ClassVar[ExampleKind]
    settings: ClassVar[tuple[str, ...]] = ()
    labels: tuple[str, ...] = ()
    verbatim_references: bool = False
    has_several_answers: bool = False
    ability: ClassVar[str] = "writes text for images"
    method: ClassVar[Literal["caption", "answer", "judge", "write"]] = "write"
    example_prompt: ClassVar[str] = ""
    pipeline_tag: ClassVar[str] = "image-to-text"
    official_fields: ClassVar[tuple[str, str] | None] = None
    writes_captions: ClassVar[bool] = False
    zero_shot: ClassVar[Literal["choose", "classify"] | None] = "choose"

    @classmethod
    def get_results_group(cls) -> str:
        """Return a name that is equal for tasks whose results belong in one table."""
        return cls.name

    @abstractmethod
    def prepare_for_training(self, examples: Sequence[Example]) -> PreparedExamples:
        """Prepare one example per training input, with its targets."""

    @abstractmethod
    def prepare_for_validation(self, examples: Sequence[Example]) -> PreparedExamples:
        """Prepare examples whose loss on text predicts the loss on images."""

    @abstractmethod
    def prepare_for_testing(self, examples: Sequence[Example], input_modality: InputModality) -> list[Example]:
        """Prepare examples for testing; with `input_modality="text"` the text is the input."""

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int) -> Scores:
        """Return the metrics of the predictions, of which there is one per example, in order."""


def keep_with_targets(example: Example, targets: Sequence[str]) -> Example:
    """Return the example with these targets."""
    return replace(example, targets=tuple(targets))
