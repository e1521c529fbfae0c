"""BLEU, METEOR, ROUGE-L and CIDEr: the scores of the COCO caption challenge.

The scorers are those of pycocoevalcap. All numbers are times 100, as papers print them. Intervals come from
resampling images. BLEU and METEOR are corpus scores, so they are recomputed from the resampled images' counts. ROUGE-L
and CIDEr are means of image scores; CIDEr keeps the document frequencies of the whole evaluation set.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from close_transfer.core.arrays import Float64Array
from close_transfer.core.languages import find_written_language
from close_transfer.metrics.any_language import compute_chrf, describe_splitting, split_words
from close_transfer.metrics.bootstrap import Scores, score_sums
from close_transfer.metrics.meteor import share_meteor
from close_transfer.metrics.ptb import get_cache_folder, tokenize_ptb

CAPTION_METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


def _count_bleu_statistics(hypotheses: list[str], references: list[list[str]]) -> Float64Array:
    """Count per image: test length, closest reference length, 4 guesses, 4 matches; shape (images, 10)."""
    scorer = BleuScorer(n=4)
    for hypothesis, group in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, group)
    rows = []
    for counts in scorer.ctest:
        closest = min((abs(length - counts["testlen"]), length) for length in counts["reflen"])[1]
        rows.append([counts["testlen"], closest, *counts["guess"], *counts["correct"]])
    return np.array(rows, dtype=float)


def _compute_bleu(sums: Float64Array) -> dict[str, Float64Array]:
    """Compute corpus BLEU of each row of summed statistics, with the small constants of pycocoevalcap's scorer."""
    test_length, reference_length = sums[:, 0], sums[:, 1]
    precisions = (sums[:, 6:10] + 1e-15) / (sums[:, 2:6] + 1e-9)
    ratio = (test_length + 1e-15) / (reference_length + 1e-9)
    brevity = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    products = np.cumprod(precisions, axis=1)
    return {f"BLEU-{n}": 100 * brevity * products[:, n - 1] ** (1 / n) for n in (1, 2, 3, 4)}


def score_captions(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    num_resamples: int,
    cache: Path | None = None,
    language: str = "en",
) -> Scores:
    """Score one caption per image against the image's references.

    Args:
        hypotheses: one caption per image.
        references: one or more captions per image, in the same order.
        num_resamples: number of bootstrap resamples for the intervals.
        cache: folder for the tokens of the references; None uses `get_cache_folder()`.
        language: code of the language, as of `core.languages`. The challenge's tokenizer and METEOR are for English. For other languages, words are
            those of `any_language.split_words`, and chrF replaces METEOR.
    """
    if find_written_language(language, "language") != "en":
        return _score_other_language(hypotheses, references, num_resamples, language)
    cache = cache or get_cache_folder()
    hypothesis_tokens = [group[0] for group in tokenize_ptb([[hypothesis] for hypothesis in hypotheses])]
    reference_tokens = tokenize_ptb(references, cache / "tokenized")
    by_image = _score_images(hypothesis_tokens, reference_tokens)
    bleu_counts = _count_bleu_statistics(hypothesis_tokens, reference_tokens)
    means = np.column_stack([*by_image.values(), np.ones(len(hypotheses))])
    with share_meteor() as meteor:
        meteor_counts = meteor.count_matches(hypothesis_tokens, reference_tokens)
        blocks = np.cumsum([bleu_counts.shape[1], means.shape[1]])

        def compute_metrics(sums: Float64Array) -> dict[str, Float64Array]:
            bleu_sums, mean_sums, meteor_sums = np.split(sums, blocks, axis=1)
            image_means = 100 * mean_sums[:, :-1] / mean_sums[:, -1:]
            return {
                **_compute_bleu(bleu_sums),
                "METEOR": meteor.compute_scores(meteor_sums),
                **dict(zip(by_image, image_means.T, strict=True)),
            }

        values, intervals = score_sums(np.hstack([bleu_counts, means, meteor_counts]), compute_metrics, num_resamples)
    notes = describe_splitting(references, language)
    return Scores(values, intervals, [100 * float(score) for score in by_image["CIDEr"]], "CIDEr", notes=notes)


def _score_images(hypotheses: list[str], references: list[list[str]]) -> dict[str, Float64Array]:
    """Compute ROUGE-L and CIDEr of each image from texts that are already split into words."""
    gts = dict(enumerate(references))
    res = {i: [text] for i, text in enumerate(hypotheses)}
    return {"ROUGE-L": Rouge().compute_score(gts, res)[1], "CIDEr": Cider().compute_score(gts, res)[1]}


def _score_other_language(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], num_resamples: int, language: str
) -> Scores:
    hypothesis_words = [group[0] for group in split_words([[hypothesis] for hypothesis in hypotheses], language)]
    reference_words = split_words(references, language)
    by_image = _score_images(hypothesis_words, reference_words)
    bleu_counts = _count_bleu_statistics(hypothesis_words, reference_words)
    means = np.column_stack([*by_image.values(), compute_chrf(hypotheses, references) / 100, np.ones(len(hypotheses))])

    def compute_metrics(sums: Float64Array) -> dict[str, Float64Array]:
        bleu_sums, mean_sums = np.split(sums, [bleu_counts.shape[1]], axis=1)
        image_means = 100 * mean_sums[:, :-1] / mean_sums[:, -1:]
        return {**_compute_bleu(bleu_sums), **dict(zip([*by_image, "chrF"], image_means.T, strict=True))}

    values, intervals = score_sums(np.hstack([bleu_counts, means]), compute_metrics, num_resamples)
    notes = describe_splitting(references, language)
    return Scores(values, intervals, [100 * float(score) for score in by_image["CIDEr"]], "CIDEr", notes=notes)
