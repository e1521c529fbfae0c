"""Accuracies: of labels, and of answers by ten annotators as VQA v2 scores them."""

import re
from collections.abc import Sequence

import numpy as np

from close_transfer.metrics.bootstrap import Floats, Scores, mean_scores

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = re.compile(r"[^\w\s]")
_DIGITS = {
    word: str(number)
    for number, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
} | {"none": "0"}  # fmt: skip


def normalised_answer(answer: str) -> str:
    """Lower case, without articles and punctuation, number words as digits, single spaces."""
    words = _ARTICLES.sub(" ", _PUNCTUATION.sub(" ", answer.lower())).split()
    return " ".join(_DIGITS.get(word, word) for word in words)


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Accuracy of one answer in 0..1 (VQA, arXiv 1505.00468, as its evaluation code averages it).

    For each annotator: min(1, matching answers among the others / 3); the mean of those.
    """
    said = normalised_answer(prediction)
    matches = [normalised_answer(answer) == said for answer in answers]
    total = sum(matches)
    return float(np.mean([min(1.0, (total - match) / 3) for match in matches]))


def accuracy_scores(
    correct: Floats, categories: Sequence[str], num_resamples: int, extra: dict[str, Floats] | None = None
) -> Scores:
    """Mean accuracy in percent, over all examples and by category.

    Args:
        correct: accuracy of each example in 0..1, shape (examples,).
        categories: category of each example; empty ones get no metric of their own.
        num_resamples: bootstrap draws.
        extra: other accuracies by metric name, shape (examples,) each.
    """
    by_name = {"accuracy": 100 * correct} | {name: 100 * values for name, values in (extra or {}).items()}
    masks = {}
    for category in sorted(set(categories) - {""}):
        by_name[f"accuracy/{category}"] = 100 * correct
        masks[f"accuracy/{category}"] = np.array([c == category for c in categories])
    values, intervals = mean_scores(by_name, num_resamples, masks)
    return Scores(values, intervals, [100 * float(c) for c in correct], "accuracy")
