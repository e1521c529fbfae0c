import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from close_transfer.metrics.bleu import compute_bleu, count_bleu_statistics
from close_transfer.metrics.ngrams import count_caption_ngrams
from tests.metrics.caption_cases import CASES, draw_captions, score_officially


def count_officially(hypotheses, references):
    """Return the counts of pycocoevalcap's scorer."""
    scorer = BleuScorer(n=4)
    for hypothesis, group in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, group)
    rows = []
    for counts in scorer.ctest:
        closest = scorer._single_reflen(counts["reflen"], "closest", counts["testlen"])
        rows.append([counts["testlen"], closest, *counts["guess"], *counts["correct"]])
    return np.array(rows)


def check_equal(hypotheses, references):
    statistics = count_bleu_statistics(count_caption_ngrams(hypotheses, references))
    np.testing.assert_array_equal(statistics, count_officially(hypotheses, references))
    corpus, images = score_officially(Bleu(4), hypotheses, references, verbose=0)
    # Not to the last bit: the powers are NumPy's, the official ones Python's.
    of_corpus = np.array(list(compute_bleu(statistics.sum(axis=0, keepdims=True)).values()))[:, 0]
    np.testing.assert_allclose(of_corpus, 100 * corpus, rtol=1e-12)
    np.testing.assert_allclose(list(compute_bleu(statistics).values()), 100 * images, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_odd_captions_have_the_official_bleu(case):
    check_equal(*CASES[case])


def test_drawn_captions_have_the_official_bleu():
    for seed in range(100):
        check_equal(*draw_captions(seed))


def test_the_shorter_of_two_lengths_as_close_counts():
    (row,) = count_bleu_statistics(count_caption_ngrams(["a b c"], [["a b c d", "a b"]]))
    assert row.tolist() == [3, 2, 3, 2, 1, 0, 3, 2, 1, 0]
