"""Keywords of requests: how often each comes, and that a longer plan begins with the shorter one."""

import json
import math
import random
from collections import Counter
from itertools import islice

import pytest

from close_transfer.core.errors import UserError
from textgen.prompts.keyword_samplers import (
    SAMPLERS,
    Quota,
    by_quota,
    cycle_values,
    pairs,
    read_quotas,
    uniform,
    unigram,
)
from textgen.text.keywords import KeywordCounts

COUNTS = {"dog": 500, "grass": 250, "ball": 150, "park": 60, "hat": 30, "kite": 10}
SETS = [("dog", "ball"), ("dog", "park", "grass"), ("hat",), ("kite", "grass")]
FOUND = KeywordCounts(COUNTS, SETS, 1000)


def drawn(sampler, num_texts, draws, seed=0):
    return list(islice(sampler(FOUND, num_texts, random.Random(seed)), draws))


def chi_square(counts, expected):
    return sum((counts[word] - share) ** 2 / share for word, share in expected.items())


def test_unigram_draws_words_as_often_as_texts_hold_them():
    counts = Counter(word for (word,) in drawn(unigram, 1, 20_000))
    # 5 degrees of freedom: 20.5 is passed once in a thousand seeds.
    assert chi_square(counts, {word: 20 * count for word, count in COUNTS.items()}) < 20.5


def test_two_unigram_keywords_differ_and_follow_the_same_frequencies():
    two = drawn(unigram, 2, 20_000)
    assert all(len(set(words)) == 2 for words in two)
    first = Counter(words[0] for words in two)
    assert chi_square(first, {word: 20 * count for word, count in COUNTS.items()}) < 20.5
    after_dog = Counter(words[1] for words in two if words[0] == "dog")
    expected = {word: after_dog.total() * count / 500 for word, count in COUNTS.items() if word != "dog"}
    assert chi_square(after_dog, expected) < 18.5


def test_uniform_draws_every_word_as_often():
    counts = Counter(word for words in drawn(uniform, 2, 15_000) for word in words)
    assert chi_square(counts, dict.fromkeys(COUNTS, 5000)) < 20.5
    assert all(len(set(words)) == 2 for words in drawn(uniform, 2, 500))


def test_pairs_are_words_of_one_text_and_every_text_is_as_likely():
    held = [set(one) for one in SETS]
    two = drawn(pairs, 2, 9000)
    assert all(len(set(words)) == 2 and any(set(words) <= one for one in held) for words in two)
    texts = Counter(next(n for n, one in enumerate(held) if set(words) <= one) for words in two)
    assert chi_square(texts, {0: 3000, 1: 3000, 3: 3000}) < 13.8
    assert {frozenset(words) for words in two if set(words) <= held[1]} == {
        frozenset(("dog", "park")), frozenset(("dog", "grass")), frozenset(("park", "grass")),
    }  # fmt: skip


def test_pairs_without_texts_that_hold_enough_are_refused():
    with pytest.raises(UserError, match=r"no text holds 4 keywords \(recipe.keywords=4\); ask for fewer"):
        next(pairs(FOUND, 4, random.Random(0)))
    with pytest.raises(UserError, match=r"keywords.sampler=pairs: .*give references=FILE"):
        next(pairs(KeywordCounts(COUNTS, [], 0), 2, random.Random(0)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_are_those_of_the_seed_and_a_longer_run_begins_with_the_shorter(name):
    sampler = SAMPLERS[name]
    assert drawn(sampler, 2, 100) == drawn(sampler, 2, 1000)[:100]
    assert drawn(sampler, 2, 100) != drawn(sampler, 2, 100, seed=1)


def test_more_keywords_than_there_are_words_gives_all_of_them():
    few = KeywordCounts({"dog": 3, "cat": 1}, [], 4)
    for sampler in (unigram, uniform):
        assert set(next(sampler(few, 5, random.Random(0)))) == {"dog", "cat"}


WEIGHTS = [
    [1, 1, 1],
    [3, 2, 1],
    [100, *[1] * 100],  # one that comes as often as all others together
    [0.1, 0.2, 0.7],
    [5, 3, 3, 2, 0.5, 0.01],
    [1e-9, 1e11, 1e11],
    [7],
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_quotas_are_kept_within_one_after_any_number(weights):
    quotas = [Quota((str(number),), weight) for number, weight in enumerate(weights)]
    counts = Counter()
    for num_texts, (word,) in enumerate(islice(by_quota(quotas, random.Random(0)), 3000), start=1):
        counts[word] += 1
        for number, weight in enumerate(weights):
            assert abs(counts[str(number)] - num_texts * weight / math.fsum(weights)) < 1 + 1e-9, (num_texts, number)


def test_the_seed_decides_the_order_of_equal_quotas():
    quotas = [Quota((word,), 1) for word in COUNTS]
    first, again, other = (list(islice(by_quota(quotas, random.Random(seed)), 60)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert set(first[:6]) == {(word,) for word in COUNTS}


def test_a_list_is_read_from_every_kind_of_table(tmp_path):
    expected = [Quota(("dog",), 2), Quota(("red", "ball"), 0.5), Quota(("hat",), 1)]
    csv = tmp_path / "words.csv"
    csv.write_text('keyword,quota\ndog,2\n"red, ball",0.5\nhat,\n')
    assert read_quotas(csv) == expected
    lines = tmp_path / "words.jsonl"
    rows = [{"keyword": "dog", "quota": 2}, {"keyword": "red,ball", "quota": 0.5}, {"keyword": "hat"}]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_quotas(lines) == expected
    text = tmp_path / "words.txt"
    text.write_text("dog\nred, ball\nhat\n")
    assert [(quota.keywords, quota.weight) for quota in read_quotas(text)] == [
        (("dog",), 1), (("red", "ball"), 1), (("hat",), 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.csv", "keyword,quota\ndog,-1\n", r"row 1: quota '-1' should be a number above 0"),
        ("w.csv", "keyword,quota\ndog,1\ncat,many\n", r"row 2: quota 'many' should be a number above 0"),
        ("w.csv", "keyword,quota\ndog,nan\n", r"quota 'nan' should be"),
        ("w.jsonl", '{"keyword": "dog", "quota": 0}\n', r"row 1: quota 0 should be a number above 0"),
        ("w.jsonl", '{"keyword": "dog", "quota": [1]}\n', r"row 1: quota \[1\] should be"),
        ("w.csv", "word,quota\ndog,1\n", r"row 1: has no `keyword`; its columns are word, quota"),
        ("w.jsonl", '{"keyword": " , "}\n', r"row 1: has no `keyword`"),
        ("w.jsonl", '{"keyword": "dog"\n', r"line 1: no valid JSON .*; mend the line"),
        ("w.jsonl", '"dog"\n', r"line 1: holds no object with fields"),
        ("w.csv", "keyword,quota\n", r"the file is empty"),
        ("w.txt", "", r"the file is empty"),
        ("w.docx", "dog", r"keywords.list=.*w.docx: cannot read .docx; allowed are .txt, .jsonl"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_by_row(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_quotas(tmp_path / name)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"keywords.list=.*none.csv: there is no such file"):
        read_quotas(tmp_path / "none.csv")


def test_values_come_in_turn_each_as_often_as_the_others():
    labels = ("entailment", "neutral", "contradiction")
    given = list(islice(cycle_values({"label": labels, "mood": ("glad", "sad")}, random.Random(0)), 602))
    for num_texts in range(1, len(given)):
        counts = Counter(one["label"] for one in given[:num_texts])
        assert max(counts[label] for label in labels) - min(counts[label] for label in labels) <= 1
    together = Counter((one["label"], one["mood"]) for one in given)
    assert len(together) == 6  # no value of one goes with always the same of the other
    assert given[:60] != list(islice(cycle_values({"label": labels, "mood": ("glad", "sad")}, random.Random(1)), 60))
    assert next(cycle_values({}, random.Random(0))) == {}
