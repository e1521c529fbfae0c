"""Statistics compared with values computed by hand."""

import math

import pytest

from textgen.text.statistics import (
    MAX_REFERENCES,
    compare_word_rates,
    compute_distinct_n,
    compute_log_likelihood,
    compute_self_bleu,
    count_lengths,
    count_words,
    estimate_chance_divergence,
    find_nearest_references,
    measure_unigram_divergence,
)


def test_words_are_counted_without_case_and_punctuation():
    assert count_words(["A dog, a cat.", "Dog!"]) == {"a": 2, "dog": 2, "cat": 1}


def test_lengths():
    assert count_lengths(["one two three", "one", "1 - 2 3"]) == {1: 1, 3: 2}


def test_divergence_by_hand():
    # Mirrored shares of 3/4 and 1/4: one bit less the entropy of (1/4, 3/4), 0.811278 bits.
    assert measure_unigram_divergence({"a": 3, "b": 1}, {"a": 1, "b": 3}) == pytest.approx(0.188722, abs=1e-6)
    # (1, 0) and (1/2, 1/2), middle (3/4, 1/4): (log2(4/3) + (log2(2/3) + log2(2)) / 2) / 2.
    assert measure_unigram_divergence({"a": 5}, {"a": 1, "b": 1}) == pytest.approx(0.311278, abs=1e-6)


def test_divergence_is_0_for_the_same_shares_and_1_for_no_common_word():
    assert measure_unigram_divergence({"a": 1, "b": 2}, {"a": 10, "b": 20}) == 0
    assert measure_unigram_divergence({"a": 1, "b": 2}, {"c": 3}) == 1


def test_small_samples_diverge_more_by_chance():
    texts = [f"a {first} {second}" for first in range(60) for second in range(60)]
    few, many, half = (estimate_chance_divergence(texts, num_texts, 0) for num_texts in (20, 1000, 10_000))
    assert half < many < 0.1 < few < 1
    assert half == estimate_chance_divergence(texts, 1800, 0)
    assert estimate_chance_divergence(["a b"] * 10, 3, 0) == 0
    assert estimate_chance_divergence(["a b"], 3, 0) is None


def test_the_divergence_of_a_side_without_words_is_refused():
    with pytest.raises(ValueError, match="without words"):
        measure_unigram_divergence({"a": 1}, {})


def test_log_likelihood_by_hand():
    # 10 and 0 of 100 each: 5 are expected, 2 * 10 ln 2.
    assert compute_log_likelihood(10, 100, 0, 100) == pytest.approx(20 * math.log(2))
    # 20 and 10 of 100 each: 15 are expected, 2 * (20 ln(4/3) + 10 ln(2/3)) = 2 * (5.7536 - 4.0547).
    assert compute_log_likelihood(20, 100, 10, 100) == pytest.approx(3.3980, abs=1e-4)
    assert compute_log_likelihood(30, 300, 10, 100) == 0


def test_overused_and_underused_words():
    counts = {"opens": 230, "cellphone": 40, "the": 9000, "phone": 1, "rare": 2, "rest": 727}
    reference = {"opens": 10, "the": 9000, "phone": 60, "rest": 930}
    over, under = compare_word_rates(counts, reference, 10)
    assert [rate.word for rate in over] == ["cellphone", "opens"]
    # 230.5 / 10.5 on 10,000 words each.
    assert over[1].ratio == pytest.approx(21.952, abs=1e-3)
    assert (over[1].occurrences, over[1].reference_occurrences) == (230, 10)
    # 1.5 / 60.5; "the" is as frequent, and two times "rare" prove nothing.
    assert [rate.word for rate in under] == ["phone", "rest"]
    assert under[0].ratio == pytest.approx(1.5 / 60.5)


def test_the_most_extreme_words_are_kept():
    over, under = compare_word_rates({"a": 500, "b": 300, "c": 10}, {"a": 10, "b": 10, "c": 900}, 1)
    assert [rate.word for rate in over] == ["a"]
    assert [rate.word for rate in under] == ["c"]


def test_rates_without_references_are_empty():
    assert compare_word_rates({"a": 1}, {}, 3) == ([], [])


def test_distinct_n_by_hand():
    assert compute_distinct_n(["a b a b"], 1) == 2 / 4
    assert compute_distinct_n(["a b a b"], 2) == 2 / 3  # ab, ba, ab
    assert compute_distinct_n(["a b", "A B."], 2) == 1 / 2
    assert compute_distinct_n(["a"], 2) == 0


def test_self_bleu_by_hand():
    # Each of two texts has 3 of 4 words, 2 of 3 pairs, 1 of 2 triples of the other, and none of 1, smoothed to 1 / 2.
    expected = (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4)
    assert compute_self_bleu(["north south east west", "north south east up"], 10, 0) == pytest.approx(expected)
    assert compute_self_bleu(["a dog runs on grass"] * 3, 10, 0) == pytest.approx(1)
    assert compute_self_bleu(["one two three four", "five six seven eight"], 10, 0) == 0
    assert compute_self_bleu(["alone"], 10, 0) == 0


def test_self_bleu_depends_on_the_seed_alone():
    texts = [f"{word} dog runs past {other} tree" for word in "abcd" for other in "efgh"]
    assert compute_self_bleu(texts, 5, 3) == compute_self_bleu(texts, 5, 3)
    assert len({compute_self_bleu(texts, 3, seed) for seed in range(20)}) > 1


def test_nearest_references():
    pairs = find_nearest_references(["ab cd", "Xyz!"], ["ab xd", "xyz", "q"], 10, 0)
    # "ab cd" and "ab xd" have 10 characters, of which one goes and one comes.
    assert [(pair.text, pair.reference, pair.similarity) for pair in pairs] == [
        ("Xyz!", "xyz", 1.0),
        ("ab cd", "ab xd", pytest.approx(0.8)),
    ]


def test_nearest_references_draws_texts_and_references():
    references = [f"number {number}" for number in range(MAX_REFERENCES + 1)]
    texts = [f"text {number}" for number in range(50)]
    pairs = find_nearest_references(texts, references, 3, 1)
    assert len(pairs) == 3
    assert pairs == find_nearest_references(texts, references, 3, 1)
    assert find_nearest_references(texts, [], 3, 1) == []
