"""Base class of tasks: facts about a task, how it shapes examples, and how it scores answers. It knows text only."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from close_transfer.config.choices import InputModality
from close_transfer.data.example_kinds import ExampleKind
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


class Task(ABC):
    """One task, such as captioning, entailment or question answering.

    A class owns every fact about its task; other packages ask it and know no task by name. The first two attributes
    must be given, and the defaults of the others suit a task that writes any text.

    Attributes:
        name: as in `task=`; also the name of its YAML file.
        reads: the kind of examples that it reads. Datasets that provide the kind serve the task.
        settings: names of its own settings in `TaskConfig`, which are the arguments of its constructor.
        labels: what the answer must be one of, scored by likelihood; empty for free text.
        verbatim_references: True if references are kept to the letter, because the scorer normalises them itself.
        ability: what a trained model does, as the predicate of a sentence about it ("captions images").
        method: the method of `TransferModel` for it.
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
        """Return one example per training input, with its targets."""

    @abstractmethod
    def prepare_for_validation(self, examples: Sequence[Example]) -> PreparedExamples:
        """Return examples whose loss on text shows how an image would fare."""

    @abstractmethod
    def prepare_for_testing(self, examples: Sequence[Example], input_modality: InputModality) -> list[Example]:
        """Return examples as they are asked at test time; with `scene="text"` the text is the input."""

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int) -> Scores:
        """Return the metrics of predictions, one for each example in order."""


def keep_with_targets(example: Example, targets: Sequence[str]) -> Example:
    """Return the example with these targets."""
    return replace(example, targets=tuple(targets))
