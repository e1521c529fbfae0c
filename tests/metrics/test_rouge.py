import random

import numpy as np
import pytest
from pycocoevalcap.rouge.rouge import Rouge

from close_transfer.metrics.rouge import compute_rouge_l
from tests.metrics.caption_cases import CASES, draw_captions, score_officially


def check_equal(hypotheses, references):
    corpus, images = score_officially(Rouge(), hypotheses, references)
    scores = compute_rouge_l(hypotheses, references)
    np.testing.assert_array_equal(scores, images)
    assert scores.mean() == corpus


@pytest.mark.parametrize("case", CASES)
def test_odd_captions_have_the_official_rouge(case):
    check_equal(*CASES[case])


def test_drawn_captions_have_the_official_rouge():
    for seed in range(100):
        check_equal(*draw_captions(seed))


@pytest.mark.parametrize("num_words", [1, 30, 62, 63, 64, 65, 130])
def test_longer_texts_than_a_machine_word_have_the_official_rouge(num_words):
    rng = random.Random(num_words)
    check_equal(
        [" ".join(rng.choices("abcd", k=num_words)) for _ in range(3)],
        [[" ".join(rng.choices("abcde", k=num_words + change)) for change in (-1, 0, 9)] for _ in range(3)],
    )


def test_an_empty_text_is_one_empty_word():
    assert compute_rouge_l(["", "", "a"], [[""], ["a"], [""]]).tolist() == [1, 0, 0]
