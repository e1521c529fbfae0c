"""Visual entailment: a scene entails the hypothesis, contradicts it, or leaves it open.

CLOSE (arXiv 2211.09778, section 4.2): in training the premise is a text, and the target is the label as a word; in
testing the premise is an image (SNLI-VE, arXiv 1901.06706).
"""

from collections.abc import Iterable, Sequence

import numpy as np

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float64Array
from close_transfer.core.labels import match_label
from close_transfer.data.example_kinds import PAIRS
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.accuracy import build_confusion_table, score_accuracy
from close_transfer.metrics.bootstrap import Scores
from close_transfer.tasks.task import PreparedExamples, Task, keep_with_targets


class SnliVe(Task):
    """Entailment, with the label chosen by likelihood, and also generated."""

    name = "snli-ve"
    reads = PAIRS
    labels = PAIRS.labels
    ability = "judges whether an image entails a sentence, contradicts it, or leaves it open"
    method = "judge"
    example_prompt = "A dog sleeps."
    pipeline_tag = "visual-question-answering"
    zero_shot = "classify"

    def prepare_for_training(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples([keep_with_targets(e, e.references) for e in examples])

    def prepare_for_validation(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples([keep_with_targets(e, e.references) for e in examples], "the same text")

    def prepare_for_testing(self, examples: Sequence[Example], input_modality: InputModality) -> list[Example]:
        return list(examples)

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int) -> Scores:
        gold = [example.references[0] for example in examples]
        answers = {"": self._find_labels(prediction.text for prediction in predictions)}
        if any(prediction.label for prediction in predictions):  # predictions of other programs have text only
            answers["_generated"] = self._find_labels(prediction.candidates[0] for prediction in predictions)
        correct = {f"accuracy{suffix}": _compare_answers(texts, gold) for suffix, texts in answers.items()}
        scores = score_accuracy(correct.pop("accuracy"), gold, num_resamples, correct)
        scores.tables = {
            f"confusion{suffix}": build_confusion_table(gold, texts, self.labels) for suffix, texts in answers.items()
        }
        return scores

    def _find_labels(self, answers: Iterable[str]) -> list[str]:
        """Return the label that each answer gives; an answer without one stays as it is."""
        return [match_label(answer, self.labels) or answer.strip() for answer in answers]


def _compare_answers(answers: Sequence[str], gold: Sequence[str]) -> Float64Array:
    return np.array([answer == label for answer, label in zip(answers, gold, strict=True)], dtype=float)
