import numpy as np
import pytest
from pycocoevalcap.cider.cider import Cider

from close_transfer.metrics.cider import compute_cider
from close_transfer.metrics.ngrams import count_caption_ngrams
from tests.metrics.caption_cases import CASES, draw_captions, score_officially


def check_equal(hypotheses, references):
    """Sums are in the official order, so no bit differs."""
    corpus, images = score_officially(Cider(), hypotheses, references)
    scores = compute_cider(count_caption_ngrams(hypotheses, references))
    np.testing.assert_array_equal(scores, images)
    assert scores.mean() == corpus


@pytest.mark.parametrize("case", CASES)
def test_odd_captions_have_the_official_cider(case):
    check_equal(*CASES[case])


def test_drawn_captions_have_the_official_cider():
    for seed in range(100):
        hypotheses, references = draw_captions(seed)
        # The official scorer fails if no reference has a word.
        check_equal([*hypotheses, "a dog"], [*references, ["a red dog"]])


def test_without_any_words_in_references_it_is_zero():
    assert compute_cider(count_caption_ngrams(["a dog", ""], [["", " "], [""]])).tolist() == [0, 0]
