"""Visual question answering: trained on captions and questions, tested on images and questions.

CLOSE (arXiv 2211.09778, section 4.3): the vectors of a scene's captions are averaged, and answers
on which annotators agree are the targets.
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from close_transfer.config.choices import InputModality
from close_transfer.data.example_kinds import EXPLAINED_QUESTIONS, QUESTIONS
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.accuracy import score_accuracy
from close_transfer.metrics.bootstrap import Scores
from close_transfer.metrics.vqa import compute_simple_vqa_accuracy, compute_vqa_accuracy, describe_answer_counts
from close_transfer.tasks.task import PreparedExamples, Task, keep_with_targets

_ENOUGH_ANNOTATORS = 3  # VQA accuracy counts an answer of three annotators as fully right


def choose_targets(answers: Sequence[str]) -> tuple[str, ...]:
    """Choose the answers to train on: the most common ones, and any that three or more annotators gave.

    They are ordered by frequency. The rule is that of the paper's code.
    """
    counts = Counter(answers).most_common()
    commonest = counts[0][1]
    return tuple(answer for answer, count in counts if count == commonest or count >= _ENOUGH_ANNOTATORS)


class Vqa(Task):
    """Free-form answers, scored against ten annotators."""

    name = "vqa"
    reads = QUESTIONS
    verbatim_references = True
    has_several_answers = True
    ability = "answers questions about images"
    method = "answer"
    example_prompt = "How many dogs are there?"
    pipeline_tag = "visual-question-answering"
    official_fields: ClassVar[tuple[str, str] | None] = ("question_id", "answer")

    def prepare_for_training(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples([keep_with_targets(e, choose_targets(e.references)) for e in examples])

    def prepare_for_validation(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples([keep_with_targets(e, choose_targets(e.references)) for e in examples], "the same text")

    def prepare_for_testing(self, examples: Sequence[Example], input_modality: InputModality) -> list[Example]:
        return list(examples)

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int) -> Scores:
        answered = [(p.text, e.references) for p, e in zip(predictions, examples, strict=True)]
        correct = np.array([compute_vqa_accuracy(*pair) for pair in answered])
        # The two simpler scores are reported as well, so that numbers of the paper's code can be compared.
        others = {
            "accuracy_simple": np.array([compute_simple_vqa_accuracy(*pair) for pair in answered]),
            "accuracy_close_code": np.array(
                [compute_simple_vqa_accuracy(*pair, counting="overwritten") for pair in answered]
            ),
        }
        categories, types = [e.category for e in examples], [e.subcategory for e in examples]
        scores = score_accuracy(correct, categories, num_resamples, others, types)
        scores.notes = describe_answer_counts([example.references for example in examples])
        return scores


class VqaE(Vqa):
    """VQA trained on an explanation of the answer instead of captions (CLOSE, section 4.3)."""

    name = "vqa-e"
    reads = EXPLAINED_QUESTIONS
    official_fields = None  # VQA-E's file has no question ids
