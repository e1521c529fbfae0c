"""BLEU, METEOR, ROUGE-L and CIDEr: the scores of the COCO caption challenge.

The numbers are those of pycocoevalcap. All are times 100, as papers print them. Intervals come from resampling images.
BLEU and METEOR are corpus scores, so they are recomputed from the resampled images' counts. ROUGE-L and CIDEr are means
of image scores; CIDEr keeps the document frequencies of the whole evaluation set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.languages import find_written_language
from close_transfer.metrics.any_language import compute_chrf, describe_splitting, split_words
from close_transfer.metrics.bleu import compute_bleu, count_bleu_statistics
from close_transfer.metrics.bootstrap import Scores, score_sums
from close_transfer.metrics.cider import compute_cider
from close_transfer.metrics.meteor import share_meteor
from close_transfer.metrics.ngrams import count_caption_ngrams
from close_transfer.metrics.ptb import get_cache_folder, tokenize_captions
from close_transfer.metrics.rouge import compute_rouge_l

CAPTION_METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of each image, which BLEU, ROUGE-L and CIDEr of a corpus are computed from.

    Attributes:
        bleu: statistics of `count_bleu_statistics`, shape (images, 10).
        rouge_l: ROUGE-L in 0..1, shape (images,).
        cider: CIDEr in 0..10, shape (images,).
    """

    bleu: Float64Array
    rouge_l: Float64Array
    cider: Float64Array


def count_image_statistics(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> ImageStatistics:
    """Compute the statistics of BLEU, ROUGE-L and CIDEr from texts that are already split into words.

    Args:
        hypotheses: one caption per image.
        references: one or more captions per image, in the same order.
    """
    ngrams = count_caption_ngrams(hypotheses, references)
    return ImageStatistics(
        count_bleu_statistics(ngrams), compute_rouge_l(hypotheses, references), compute_cider(ngrams)
    )


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
    # METEOR loads its tables while the captions are tokenised and counted.
    with share_meteor() as meteor:
        hypothesis_tokens, reference_tokens = tokenize_captions(hypotheses, references, cache / "tokenized")
        images = count_image_statistics(hypothesis_tokens, reference_tokens)
        means = np.column_stack([images.rouge_l, images.cider, np.ones(len(hypotheses))])
        meteor_counts = meteor.count_matches(hypothesis_tokens, reference_tokens)
        blocks = np.cumsum([images.bleu.shape[1], means.shape[1]])

        def compute_metrics(sums: Float64Array) -> dict[str, Float64Array]:
            bleu_sums, mean_sums, meteor_sums = np.split(sums, blocks, axis=1)
            rouge_l, cider = 100 * mean_sums[:, :-1].T / mean_sums[:, -1]
            return {
                **compute_bleu(bleu_sums),
                "METEOR": meteor.compute_scores(meteor_sums),
                "ROUGE-L": rouge_l,
                "CIDEr": cider,
            }

        values, intervals = score_sums(np.hstack([images.bleu, means, meteor_counts]), compute_metrics, num_resamples)
    notes = describe_splitting(references, language)
    return Scores(values, intervals, (100 * images.cider).tolist(), "CIDEr", notes=notes)


def _score_other_language(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], num_resamples: int, language: str
) -> Scores:
    hypothesis_words = [group[0] for group in split_words([[hypothesis] for hypothesis in hypotheses], language)]
    reference_words = split_words(references, language)
    images = count_image_statistics(hypothesis_words, reference_words)
    chrf = compute_chrf(hypotheses, references) / 100
    means = np.column_stack([images.rouge_l, images.cider, chrf, np.ones(len(hypotheses))])

    def compute_metrics(sums: Float64Array) -> dict[str, Float64Array]:
        bleu_sums, mean_sums = np.split(sums, [images.bleu.shape[1]], axis=1)
        image_means = 100 * mean_sums[:, :-1] / mean_sums[:, -1:]
        return {**compute_bleu(bleu_sums), **dict(zip(("ROUGE-L", "CIDEr", "chrF"), image_means.T, strict=True))}

    values, intervals = score_sums(np.hstack([images.bleu, means]), compute_metrics, num_resamples)
    notes = describe_splitting(references, language)
    return Scores(values, intervals, (100 * images.cider).tolist(), "CIDEr", notes=notes)
