"""Visual entailment: does the scene entail, contradict, or leave open what the hypothesis says?

CLOSE (arXiv 2211.09778, section 4.2): trained on premises and hypotheses, the target is the label
as a word; tested with an image as the premise (SNLI-VE, arXiv 1901.06706).
"""

from collections.abc import Sequence

import numpy as np

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float64Array
from close_transfer.data.example_kinds import PAIRS
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.accuracy import build_confusion_table, score_accuracy
from close_transfer.metrics.bootstrap import Scores
from close_transfer.tasks.task import PreparedExamples, Task, keep_with_targets


class SnliVe(Task):
    """Entailment with a label that is generated, and also chosen by likelihood."""

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
        answers = {"": [prediction.text.strip() for prediction in predictions]}
        if any(prediction.label for prediction in predictions):  # else there is only what was generated
            answers["_generated"] = [prediction.candidates[0].strip() for prediction in predictions]
        correct = {f"accuracy{suffix}": _compare_answers(texts, gold) for suffix, texts in answers.items()}
        scores = score_accuracy(correct.pop("accuracy"), gold, num_resamples, correct)
        scores.tables = {
            f"confusion{suffix}": build_confusion_table(gold, texts, self.labels) for suffix, texts in answers.items()
        }
        return scores


def _compare_answers(answers: Sequence[str], gold: Sequence[str]) -> Float64Array:
    return np.array([answer == label for answer, label in zip(answers, gold, strict=True)], dtype=float)
