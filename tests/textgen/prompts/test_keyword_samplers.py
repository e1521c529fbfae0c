"""Samplers of keywords: frequencies, and longer plans that begin with shorter ones."""

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
    cycle_values,
    read_quotas,
    sample_by_quota,
    sample_pairs,
    sample_uniform,
    sample_unigram,
)
from textgen.text.keywords import KeywordCounts

COUNTS = {"dog": 500, "grass": 250, "ball": 150, "park": 60, "hat": 30, "kite": 10}
SETS = [("dog", "ball"), ("dog", "park", "grass"), ("hat",), ("kite", "grass")]
KEYWORDS = KeywordCounts(COUNTS, SETS, 1000)


def draw_keywords(sampler, num_texts, draws, seed=0):
    return list(islice(sampler(KEYWORDS, num_texts, random.Random(seed)), draws))


def chi_square(counts, expected):
    return sum((counts[word] - share) ** 2 / share for word, share in expected.items())


def test_unigram_follows_the_frequencies_of_the_texts():
    counts = Counter(word for (word,) in draw_keywords(sample_unigram, 1, 20_000))
    # 5 degrees of freedom: 20.5 is passed once in a thousand seeds.
    assert chi_square(counts, {word: 20 * count for word, count in COUNTS.items()}) < 20.5


def test_two_unigram_keywords_differ_and_follow_the_same_frequencies():
    draws = draw_keywords(sample_unigram, 2, 20_000)
    assert all(len(set(words)) == 2 for words in draws)
    first = Counter(words[0] for words in draws)
    assert chi_square(first, {word: 20 * count for word, count in COUNTS.items()}) < 20.5
    after_dog = Counter(words[1] for words in draws if words[0] == "dog")
    expected = {word: after_dog.total() * count / 500 for word, count in COUNTS.items() if word != "dog"}
    assert chi_square(after_dog, expected) < 18.5


def test_uniform_draws_all_words_equally_often():
    counts = Counter(word for words in draw_keywords(sample_uniform, 2, 15_000) for word in words)
    assert chi_square(counts, dict.fromkeys(COUNTS, 5000)) < 20.5
    assert all(len(set(words)) == 2 for words in draw_keywords(sample_uniform, 2, 500))


def test_pairs_are_words_of_one_text_and_all_texts_are_equally_likely():
    text_words = [set(words) for words in SETS]
    draws = draw_keywords(sample_pairs, 2, 9000)
    assert all(len(set(words)) == 2 and any(set(words) <= in_text for in_text in text_words) for words in draws)
    texts = Counter(next(n for n, in_text in enumerate(text_words) if set(words) <= in_text) for words in draws)
    assert chi_square(texts, {0: 3000, 1: 3000, 3: 3000}) < 13.8
    assert {frozenset(words) for words in draws if set(words) <= text_words[1]} == {
        frozenset(("dog", "park")), frozenset(("dog", "grass")), frozenset(("park", "grass")),
    }  # fmt: skip


def test_pairs_are_refused_without_texts_with_enough_keywords():
    with pytest.raises(UserError, match=r"no text has 4 keywords \(recipe.keywords=4\)\. Lower recipe.keywords"):
        next(sample_pairs(KEYWORDS, 4, random.Random(0)))
    with pytest.raises(UserError, match=r"keywords.sampler=pairs: .*Give references=FILE"):
        next(sample_pairs(KeywordCounts(COUNTS, [], 0), 2, random.Random(0)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_decides_the_draws_and_a_longer_run_begins_with_the_shorter(name):
    sampler = SAMPLERS[name]
    assert draw_keywords(sampler, 2, 100) == draw_keywords(sampler, 2, 1000)[:100]
    assert draw_keywords(sampler, 2, 100) != draw_keywords(sampler, 2, 100, seed=1)


def test_a_request_for_more_keywords_than_exist_gets_all():
    few = KeywordCounts({"dog": 3, "cat": 1}, [], 4)
    for sampler in (sample_unigram, sample_uniform):
        assert set(next(sampler(few, 5, random.Random(0)))) == {"dog", "cat"}


WEIGHTS = [
    [1, 1, 1],
    [3, 2, 1],
    [100, *[1] * 100],  # one entry as frequent as all others together
    [0.1, 0.2, 0.7],
    [5, 3, 3, 2, 0.5, 0.01],
    [1e-9, 1e11, 1e11],
    [7],
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_quotas_are_met_within_one_after_any_number_of_requests(weights):
    quotas = [Quota((str(number),), weight) for number, weight in enumerate(weights)]
    counts = Counter()
    for num_texts, (word,) in enumerate(islice(sample_by_quota(quotas, random.Random(0)), 3000), start=1):
        counts[word] += 1
        for number, weight in enumerate(weights):
            assert abs(counts[str(number)] - num_texts * weight / math.fsum(weights)) < 1 + 1e-9, (num_texts, number)


def test_the_seed_decides_the_order_of_equal_quotas():
    quotas = [Quota((word,), 1) for word in COUNTS]
    first, again, other = (list(islice(sample_by_quota(quotas, random.Random(seed)), 60)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert set(first[:6]) == {(word,) for word in COUNTS}


def test_a_list_is_read_from_every_file_format(tmp_path):
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
    array = tmp_path / "words.json"
    array.write_text(json.dumps(rows))
    text.write_text(csv.read_text())  # a table under the extension of texts
    assert read_quotas(array) == read_quotas(text) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.csv", "keyword,quota\ndog,-1\n", r"row 1: quota '-1' is not a number above 0"),
        ("w.csv", "keyword,quota\ndog,1\ncat,many\n", r"row 2: quota 'many' is not a number above 0"),
        ("w.csv", "keyword,quota\ndog,nan\n", r"quota 'nan' is not"),
        ("w.jsonl", '{"keyword": "dog", "quota": 0}\n', r"row 1: quota 0 is not a number above 0"),
        ("w.jsonl", '{"keyword": "dog", "quota": [1]}\n', r"row 1: quota \[1\] is not"),
        ("w.csv", "word,quota\ndog,1\n", r"row 1: has no `keyword`; its columns are word, quota"),
        ("w.jsonl", '{"keyword": " , "}\n', r"row 1: has no `keyword`"),
        ("w.jsonl", '{"keyword": "dog"\n', r"line 1: not valid JSON .*\. Correct the line"),
        ("w.jsonl", '"dog"\n', r"line 1: is not an object with fields"),
        ("w.csv", "keyword,quota\n", r"the file is empty"),
        ("w.txt", "", r"the file is empty"),
        ("w.docx", "dog", r"keywords.list=.*w.docx: cannot read .docx; allowed are .txt, .jsonl"),
    ],
)
def test_an_invalid_list_is_refused_with_its_row(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_quotas(tmp_path / name)


def test_a_missing_list_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"keywords.list=.*none.csv: there is no such file"):
        read_quotas(tmp_path / "none.csv")


def test_values_come_in_turn_and_equally_often():
    labels = ("entailment", "neutral", "contradiction")
    given = list(islice(cycle_values({"label": labels, "mood": ("glad", "sad")}, random.Random(0)), 602))
    for num_texts in range(1, len(given)):
        counts = Counter(values["label"] for values in given[:num_texts])
        assert max(counts[label] for label in labels) - min(counts[label] for label in labels) <= 1
    together = Counter((values["label"], values["mood"]) for values in given)
    assert len(together) == 6  # the two variables are independent
    assert given[:60] != list(islice(cycle_values({"label": labels, "mood": ("glad", "sad")}, random.Random(1)), 60))
    assert next(cycle_values({}, random.Random(0))) == {}
