"""Filters that compare texts: examples and evaluation texts, duplicates, overused phrases."""

import os
import random
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from textgen.corpus.candidate import Candidate
from textgen.filters.duplicates import ExactDuplicates, NearDuplicates
from textgen.filters.near import choose_bands_and_rows, measure_similarity
from textgen.filters.overlap import Overlap
from textgen.filters.overused import OverusedNgrams

TEN = "one two three four five six seven eight nine ten"


def reasons(stage, *texts):
    return stage.find_reasons([Candidate(f"r-{number}", "r", text) for number, text in enumerate(texts)])


def removed(stage, *texts):
    return [number for number, reason in enumerate(reasons(stage, *texts)) if reason]


def test_the_first_of_exact_duplicates_is_kept():
    results = reasons(ExactDuplicates(), "A dog runs.", "a cat", "a dog runs", "A DOG, RUNS!")
    assert results == [None, None, "the words of r-0", "the words of r-0"]


def test_texts_with_different_answers_are_not_duplicates():
    pairs = [
        Candidate(str(number), "r", "A dog runs.", {"answer": answer}) for number, answer in enumerate(["dog", "run"])
    ]
    assert ExactDuplicates().find_reasons(pairs) == [None, None]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("one two three four five six seven eight nine other", 17 / 21),
        ("one two three four six seven eight nine ten", 16 / 20),
        ("one two three four other six seven eight nine ten", 16 / 22),
        ("one two three other five six another eight nine ten", 13 / 25),
        ("", 0),
    ],
)
def test_similarity_is_the_jaccard_of_words_and_pairs(other, expected):
    assert measure_similarity(TEN, other) == pytest.approx(expected)


def test_near_duplicates_are_removed_from_the_threshold_on():
    last_word = "One two three four five six seven eight nine OTHER."  # 0.81
    one_less = "one two three four six seven eight nine ten"  # 0.80
    inner_word = "one two three four other six seven eight nine ten"  # 0.73
    assert removed(NearDuplicates(0.8), TEN, last_word, one_less, inner_word) == [1, 2]
    assert removed(NearDuplicates(0.9), TEN, last_word, one_less, inner_word) == []


def test_the_reason_shows_the_first_text():
    results = reasons(NearDuplicates(0.8), "A cat sleeps.", TEN, TEN + " more")
    assert results == [None, None, f"0.90 like r-1: {TEN}"]  # 19 of 21 words and pairs


def test_the_first_of_several_near_texts_is_named():
    words = [f"w{number}" for number in range(24)]
    originals = [" ".join([*words[:at], f"other{at}", *words[at + 1 :]]) for at in range(1, 23, 2)]
    # Two originals share 41 of 53 words and pairs (0.77), each and the last text 44 of 50 (0.88).
    results = reasons(NearDuplicates(0.8), *originals, " ".join(words))
    assert results[:-1] == [None] * len(originals)
    assert results[-1] == f"0.88 like r-0: {originals[0]}"


def test_the_exact_similarity_decides():
    pairs = [[f"w{pair}x{place}" for place in range(10)] for pair in range(500)]
    # 16 of 22 words and pairs are shared, 0.727: just below the threshold.
    texts = [" ".join(text) for words in pairs for text in (words, [*words[:4], "other", *words[5:]])]
    assert removed(NearDuplicates(0.73), *texts) == []
    assert len(removed(NearDuplicates(0.72), *texts)) > 480


def test_a_removed_text_does_not_remove_others():
    words = [f"w{number}" for number in range(20)]
    drifting = [" ".join(words[start : start + 12]) for start in (0, 1, 2, 3)]
    # Neighbours share 21 of 25 words and pairs (0.84), the second next 19 of 27 (0.70).
    assert removed(NearDuplicates(0.8), *drifting) == [1, 3]


def test_texts_without_words_are_not_near_each_other():
    assert removed(NearDuplicates(0.5), "!?", "...", "") == []


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99])
def test_a_pair_at_the_threshold_is_proposed(threshold):
    bands, rows = choose_bands_and_rows(threshold)
    assert 1 - (1 - threshold**rows) ** bands >= 0.99


def make_texts(num_texts, seed=0):
    """Return texts of 20 words out of 500; every second one copies the one before it with another last word."""
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(500)]
    texts = []
    for number in range(num_texts):
        if number % 2:
            texts.append(texts[-1].rsplit(" ", 1)[0] + " x")
        else:
            texts.append(" ".join(rng.choices(words, k=20)))
    return texts


def test_the_result_agrees_with_comparing_all_pairs():
    texts = make_texts(400)
    kept, expected = [], []
    for number, text in enumerate(texts):
        if any(measure_similarity(text, other) >= 0.8 for other in kept):
            expected.append(number)
        else:
            kept.append(text)
    assert len(expected) == 200
    assert removed(NearDuplicates(0.8), *texts) == expected


def test_the_result_does_not_depend_on_the_process():
    code = (
        "from tests.textgen.filters.test_repetition import make_texts, removed, NearDuplicates;"
        "print(removed(NearDuplicates(0.8), *make_texts(200)))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].strip().startswith(b"[1, 3, 5")


def test_copies_of_examples_and_evaluation_texts_are_removed():
    stage = Overlap(["A dog runs on the beach."], [TEN], 0.8)
    results = reasons(stage, "a dog runs on the beach", TEN + " eleven", "A cat sleeps.", "One two three four")
    assert results == [
        "the words of an example of the prompt: A dog runs on the beach.",
        f"0.90 like an evaluation text: {TEN}",
        None,
        None,
    ]


def test_all_fields_together_are_compared_with_examples():
    stage = Overlap(["A dog runs. Who runs? A dog"], [], 0.8)
    copied = Candidate("r-0", "r", "A dog runs.", {"question": "Who runs?", "answer": "a dog"})
    other = Candidate("r-1", "r", "A dog runs.", {"question": "Where does it run?", "answer": "nowhere"})
    assert [bool(reason) for reason in stage.find_reasons([copied, other])] == [True, False]


def test_all_fields_together_may_be_near_an_example():
    example = "A dog runs. Who runs on the wet grass of the park? A dog"
    stage = Overlap([example], [], 0.8)
    near = Candidate("r-0", "r", "A dog runs.", {"question": "Who runs on the wet grass of a park?", "answer": "a dog"})
    # Each has 22 different words and pairs; 20 are in both, of 24.
    assert stage.find_reasons([near]) == [f"0.83 like an example of the prompt: {example}"]


def test_without_a_threshold_equal_words_are_still_removed():
    assert removed(Overlap([TEN], [], None), TEN.upper(), TEN + " eleven") == [0]


def phrase(number, words="in front of the"):
    return f"w{number} v{number} {words} u{number} t{number}"


def test_a_phrase_may_be_in_a_limited_number_of_texts():
    stage = OverusedNgrams([], share=0.01, factor=3.0, min_count=5)
    texts = [phrase(number) for number in range(8)]
    results = reasons(stage, "a cat sleeps well", *texts, "a dog sleeps well")
    assert [number for number, reason in enumerate(results) if reason] == [6, 7, 8]
    assert results[6] == 'holds "in front of the", as 5 texts before it do'


def test_a_phrase_counts_once_per_text_and_not_across_texts():
    stage = OverusedNgrams([], share=0.01, factor=3.0, min_count=2)
    twice = "on and on and on and on"
    assert removed(stage, twice, twice, twice) == [2]
    assert removed(stage, "x a b", "c d a b", "c d a b", "c d y") == []


def test_a_removed_text_does_not_count():
    stage = OverusedNgrams([], share=0.01, factor=3.0, min_count=2)
    first, other = "p q r s", "k l m n"
    # The third text has a phrase at its limit and is removed, so only the fourth counts for the other phrase.
    assert removed(stage, first, first, f"{first} x {other}", other, other, other) == [2, 5]


def test_the_limit_grows_with_the_corpus():
    texts = [phrase(number) for number in range(100)]
    assert removed(OverusedNgrams([], share=0.3, factor=3.0, min_count=5), *texts) == list(range(30, 100))


def test_the_limit_follows_the_share_in_the_references():
    references = [phrase(number) for number in range(10)] + ["a cat sleeps"] * 90  # a share of 0.1
    stage = OverusedNgrams(references, share=0.01, factor=3.0, min_count=5)
    texts = [phrase(number) if number % 2 else phrase(number, "next to a big") for number in range(100)]
    results = reasons(stage, *texts)
    # 30 of 100 may hold the one, 5 the other.
    assert sum(1 for text, reason in zip(texts, results, strict=True) if not reason and "in front of" in text) == 30
    assert sum(1 for text, reason in zip(texts, results, strict=True) if not reason and "next to" in text) == 5


@pytest.mark.parametrize("texts", [[], [""], ["a b"], ["a b c d"], ["a b", "c d e"]])
def test_short_texts_have_no_phrase(texts):
    assert removed(OverusedNgrams([], share=0.01, factor=3.0, min_count=1), *texts) == []
