"""Accuracies in percent, over all examples and by group, and confusion matrices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.metrics.bootstrap import Scores, average_scores

QUESTION_TYPE = "question_type/"
"""Prefix of a subcategory in the name of its accuracy."""


def score_accuracy(
    correct: Float64Array,
    categories: Sequence[str],
    num_resamples: int,
    extra: Mapping[str, Float64Array] | None = None,
    subcategories: Sequence[str] = (),
) -> Scores:
    """Compute the mean accuracy in percent, over all examples and by category.

    If the categories are gold labels, `accuracy/{label}` is the recall of the label.

    Args:
        correct: accuracy of each example in 0..1, shape (examples,).
        categories: category of each example; empty strings get no separate metric.
        num_resamples: number of bootstrap resamples.
        extra: other accuracies by metric name, shape (examples,) each.
        subcategories: a second, finer category of each example (the question type), reported as
            `accuracy/question_type/{name}`; an empty sequence if there is none.
    """
    by_name = {"accuracy": correct} | dict(extra or {})
    masks = {}
    for prefix, groups in (("", categories), (QUESTION_TYPE, subcategories)):
        for group in sorted(set(groups) - {""}):
            name = f"accuracy/{prefix}{group}"
            by_name[name] = correct
            masks[name] = np.array([label == group for label in groups])
    _, ends = average_scores(by_name, num_resamples, masks)
    intervals = {name: (100 * low, 100 * high) for name, (low, high) in ends.items()}
    # Summed one by one and divided last, as in the official tool: another order can change the last printed digit.
    selected = {name: (scores[masks[name]] if name in masks else scores).tolist() for name, scores in by_name.items()}
    values = {name: 100 * float(sum(scores)) / len(scores) for name, scores in selected.items()}
    return Scores(values, intervals, [100 * float(score) for score in correct], "accuracy")


def build_confusion_table(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Count how often each gold label was answered with each label, in the format of results.json.

    Args:
        gold: gold label of each example, one of `labels`.
        predicted: answer to each example, in the same order.
        labels: labels of the rows and columns, in this order.

    Returns:
        `rows` (gold labels), `columns` (the labels, then "other" for any other answer) and `counts`, a list of rows.
        A diagonal count divided by its row's sum is the label's recall.

    Raises:
        UserError: if a gold label is not one of `labels`.
    """
    unknown = sorted(set(gold) - set(labels))
    if unknown:
        raise UserError(f"gold labels {unknown[:5]} are not among {list(labels)}. Correct or leave out those examples")
    columns = [*labels, "other"]
    counts = np.zeros((len(labels), len(columns)), dtype=int)
    for label, answer in zip(gold, predicted, strict=True):
        column = columns.index(answer) if answer in labels else len(labels)
        counts[labels.index(label), column] += 1
    return {"rows": list(labels), "columns": columns, "counts": counts.tolist()}
