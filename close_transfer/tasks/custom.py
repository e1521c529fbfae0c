"""User-defined task: prompt and target come from columns of the data, and the metric is a setting."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from close_transfer.config.choices import InputModality
from close_transfer.core.errors import UserError
from close_transfer.core.labels import match_label
from close_transfer.data.example_kinds import ROWS
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.accuracy import score_accuracy
from close_transfer.metrics.any_language import compute_exact_matches, score_texts
from close_transfer.metrics.bootstrap import Scores
from close_transfer.metrics.captions import score_captions
from close_transfer.metrics.vqa import compute_vqa_accuracy, describe_answer_counts
from close_transfer.tasks.task import PreparedExamples, Task, keep_with_targets

Metric = Literal["captions", "accuracy", "vqa", "text"]


class Custom(Task):
    """Task that writes any text, given a scene and an optional prompt."""

    name = "custom"
    reads = ROWS
    settings = ("metric", "labels", "language")

    def __init__(self, metric: Metric = "captions", labels: tuple[str, ...] = (), language: str = "en") -> None:
        """Set the metric, the answers to choose from (empty: any text), and the answers' language (ISO 639).

        Raises:
            UserError: if labels repeat, or there are labels and the metric is not accuracy.
        """
        if len(set(labels)) != len(labels) or len(labels) == 1:
            raise UserError(
                f"task.labels=[{','.join(labels)}]: must be two or more different answers. Give them, such as "
                "task.labels=[yes,no], or leave it out if any text is an answer"
            )
        if labels and metric != "accuracy":
            raise UserError(f"task.metric={metric}: labels are scored by accuracy only. Use task.metric=accuracy")
        self.labels = labels
        self.verbatim_references = metric == "vqa"
        # Of labels that contradict each other, at most one is right.
        self.has_several_answers = metric != "accuracy"
        self._metric = metric
        self._language = language

    def prepare_for_training(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples(self._use_labels(examples))

    def prepare_for_validation(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples(self._use_labels(examples), "the same text")

    def _use_labels(self, examples: Sequence[Example]) -> list[Example]:
        """Return the examples with targets spelled as the labels; unchanged without labels.

        Raises:
            UserError: if a target gives none of the labels.
        """
        if not self.labels:
            return list(examples)
        targets = dict.fromkeys(target for example in examples for target in example.targets)
        label_by_target = {target: match_label(target, self.labels) for target in targets}
        unknown = sorted(target for target, label in label_by_target.items() if label is None)
        if unknown:
            raise UserError(
                f"task.labels={','.join(self.labels)}: the data also have the targets {', '.join(unknown[:5])}. "
                "Add them, or leave those rows out"
            )
        return [keep_with_targets(e, [label_by_target[target] or target for target in e.targets]) for e in examples]

    def prepare_for_testing(self, examples: Sequence[Example], input_modality: InputModality) -> list[Example]:
        return [keep_with_targets(example, ()) for example in examples]

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int) -> Scores:
        answers = [self._find_label(prediction.text) for prediction in predictions]
        references = [tuple(map(self._find_label, example.references)) for example in examples]
        if self._metric == "captions":
            return score_captions(answers, references, num_resamples, language=self._language)
        if self._metric == "text":
            return score_texts(answers, references, num_resamples)
        if self._metric == "vqa":
            correct = np.array([compute_vqa_accuracy(*pair) for pair in zip(answers, references, strict=True)])
            scores = score_accuracy(correct, [""] * len(answers), num_resamples)
            scores.notes = describe_answer_counts(references)
            return scores
        correct = compute_exact_matches(answers, references) / 100
        categories = [texts[0] if self.labels else "" for texts in references]
        return score_accuracy(correct, categories, num_resamples)

    def _find_label(self, text: str) -> str:
        """Return the label that a text gives; the text itself if it gives none, or without labels."""
        return match_label(text, self.labels) or text
