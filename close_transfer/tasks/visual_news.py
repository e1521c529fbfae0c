"""Captioning of news images: the caption is the input and the target, the article is the prompt.

CLOSE (arXiv 2211.09778, section 4.4); data of arXiv 2010.03743.
"""

from collections.abc import Sequence

from close_transfer.config.choices import InputModality
from close_transfer.data.example_kinds import ARTICLES
from close_transfer.data.examples import Example, Prediction
from close_transfer.metrics.bootstrap import Scores
from close_transfer.metrics.captions import score_captions
from close_transfer.tasks.task import PreparedExamples, Task, keep_with_targets


class VisualNews(Task):
    """Captions of news images, given the article."""

    name = "visual-news"
    reads = ARTICLES
    ability = "captions the images of news articles"
    writes_captions = True

    def prepare_for_training(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples([keep_with_targets(e, e.texts) for e in examples])

    def prepare_for_validation(self, examples: Sequence[Example]) -> PreparedExamples:
        return PreparedExamples([keep_with_targets(e, e.texts) for e in examples], "the same text")

    def prepare_for_testing(self, examples: Sequence[Example], input_modality: InputModality) -> list[Example]:
        return list(examples)

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], num_resamples: int) -> Scores:
        hypotheses = [prediction.text for prediction in predictions]
        return score_captions(hypotheses, [example.references for example in examples], num_resamples)
