"""Scores of a test of composition: accuracies of choices and twins, and Winoground's scores (arXiv 2204.03162)."""

from collections.abc import Sequence

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.data.composition import CompositionTest
from close_transfer.metrics.bootstrap import Scores, average_scores

TWINS, CHOICES = "accuracy/twins", "accuracy/choices"


def score_choice(scores: Sequence[float], tolerance: float) -> float:
    """Return 100 if the first caption has the highest score, 0 if another one has; equal scores share the 100.

    Args:
        scores: score of each caption, the right one first.
        tolerance: largest difference of scores that count as equal.
    """
    values = np.asarray(scores)
    is_best = values >= values.max() - tolerance
    return 100.0 * float(is_best[0]) / float(is_best.sum())


def score_twins(scores: Float64Array, tolerance: float) -> dict[str, float]:
    """Return the scores of one pair of twins, each 0 to 100.

    Args:
        scores: score of each caption for each image, shape (2 images, 2 captions).
        tolerance: largest difference of scores that count as equal.

    Returns:
        "accuracy": share of images for which the right caption has the higher score, ties count half;
        "text": 100 if that holds strictly for both images;
        "image": 100 if, for both captions, the right image has strictly the higher score;
        "group": 100 if both hold.
    """
    by_image = [score_choice(scores[image, [image, 1 - image]].tolist(), tolerance) for image in (0, 1)]
    text = all(score == 100 for score in by_image)
    image = all(scores[caption, caption] - scores[1 - caption, caption] > tolerance for caption in (0, 1))
    return {
        "accuracy": float(np.mean(by_image)),
        "text": 100.0 * text,
        "image": 100.0 * image,
        "group": 100.0 * (text and image),
    }


def score_composition(
    test: CompositionTest,
    choice_scores: Sequence[Sequence[float]],
    twin_scores: Sequence[Float64Array],
    tolerance: float,
    num_bootstrap: int,
) -> Scores:
    """Return all metrics with intervals over items; those of each stratum of twins are in a table.

    The leading metric, one number per item, is that of the twins; of the choices if there are no twins.

    Args:
        test: items of the test.
        choice_scores: scores of the captions of each choice.
        twin_scores: scores of each pair of twins, shape (2 images, 2 captions) each.
        tolerance: largest difference of scores that count as equal.
        num_bootstrap: draws for the intervals.
    """
    twins = [score_twins(scores, tolerance) for scores in twin_scores]
    choices = np.asarray([score_choice(scores, tolerance) for scores in choice_scores])
    chances = np.asarray([100 / len(item.captions) for item in test.choices])
    result = Scores(leading=TWINS)
    if twins:
        columns = {
            TWINS: np.asarray([twin["accuracy"] for twin in twins]),
            **{name: np.asarray([twin[name] for twin in twins]) for name in ("text", "image", "group")},
        }
        result.metrics, result.intervals = average_scores(columns, num_bootstrap)
        result.per_example = [twin["accuracy"] for twin in twins]
        result.tables["twins"] = {
            stratum: {
                "num_twins": int(rows.sum()),
                **{name: float(column[rows].mean()) for name, column in columns.items()},
            }
            for stratum, rows in _split_rows([item.stratum for item in test.twins]).items()
        }
    else:
        result.leading = CHOICES
        result.per_example = choices.tolist()
    result.tables["choices"] = {}
    for stratum, rows in _split_rows([item.stratum for item in test.choices]).items():
        metrics, intervals = average_scores({f"accuracy/{stratum}": choices[rows]}, num_bootstrap)
        result.metrics |= metrics
        result.intervals |= intervals
        result.tables["choices"][stratum] = {"num_items": int(rows.sum()), "chance": float(chances[rows].mean())}
    return result


def _split_rows(strata: Sequence[str]) -> dict[str, np.ndarray]:
    names = np.asarray(strata)
    return {name: names == name for name in dict.fromkeys(strata)}
