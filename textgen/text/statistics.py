"""Numbers that say how a corpus is written, alone and beside the references whose style it should have.

A word is what `normalize_text` leaves between spaces: lower case, no punctuation.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from rapidfuzz import fuzz, process
from sacrebleu.metrics import BLEU

from close_transfer.core.text_normalization import normalize_text

_Item = TypeVar("_Item")

MOST_REFERENCES = 50_000  # of which a nearest one is looked for
# G2 above which two rates differ, at p < 0.0001 with one degree of freedom (Rayson, Berridge & Francis 2004).
SIGNIFICANT = 15.13
_SMOOTHING = 0.5  # occurrences added on both sides, so that a word that one side lacks has a finite ratio


class WordRate(NamedTuple):
    """How often a word occurs in two texts.

    Attributes:
        word: in lower case.
        occurrences: in the texts.
        reference_occurrences: in the references.
        ratio: of the two rates: 23.0 is 23 times as often as in the references, 0.5 half as often.
        g2: log-likelihood ratio of the two rates, at least 0.
    """

    word: str
    occurrences: int
    reference_occurrences: int
    ratio: float
    g2: float


class NearestReference(NamedTuple):
    """A text, the reference that is written most like it, and how alike, 0 to 1."""

    text: str
    reference: str
    similarity: float


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalize_text(text).split())
    return counts


def count_lengths(texts: Iterable[str]) -> dict[int, int]:
    """Number of texts of each length in words, shortest first."""
    return dict(sorted(Counter(len(normalize_text(text).split()) for text in texts).items()))


def measure_unigram_divergence(counts: Mapping[str, int], reference_counts: Mapping[str, int]) -> float:
    """Jensen-Shannon divergence of two distributions of words, in bits: 0 the same, 1 no word in common.

    Lin (1991), equation 4.1 with equal weights.

    Raises:
        ValueError: if one holds no words.
    """
    total, reference_total = sum(counts.values()), sum(reference_counts.values())
    if not total or not reference_total:
        raise ValueError("there is no divergence from, or of, a text without words")
    terms = []
    for word in counts.keys() | reference_counts.keys():
        p, q = counts.get(word, 0) / total, reference_counts.get(word, 0) / reference_total
        terms += [share / 2 * math.log2(2 * share / (p + q)) for share in (p, q) if share]
    # The words come in no fixed order, and an exact sum does not depend on it.
    return min(max(math.fsum(terms), 0.0), 1.0)


def compare_word_rates(
    counts: Mapping[str, int], reference_counts: Mapping[str, int], num: int
) -> tuple[list[WordRate], list[WordRate]]:
    """The words that are most over- and under-used beside the references.

    Only words whose rates differ significantly (G2 of Dunning 1993, above SIGNIFICANT) are named.

    Args:
        counts: of words in the texts.
        reference_counts: of words in the references.
        num: most words of either kind.

    Returns:
        over-used words, the largest ratio first, and under-used ones, the smallest first. None if a side has no words.
    """
    total, reference_total = sum(counts.values()), sum(reference_counts.values())
    if not total or not reference_total:
        return [], []
    rates = []
    for word in counts.keys() | reference_counts.keys():
        count, reference_count = counts.get(word, 0), reference_counts.get(word, 0)
        g2 = log_likelihood(count, total, reference_count, reference_total)
        if g2 > SIGNIFICANT:
            rate = (count + _SMOOTHING) / (total + _SMOOTHING)
            reference_rate = (reference_count + _SMOOTHING) / (reference_total + _SMOOTHING)
            rates.append(WordRate(word, count, reference_count, rate / reference_rate, g2))
    over = sorted((rate for rate in rates if rate.ratio > 1), key=lambda rate: (-rate.ratio, rate.word))
    under = sorted((rate for rate in rates if rate.ratio < 1), key=lambda rate: (rate.ratio, rate.word))
    return over[:num], under[:num]


def log_likelihood(count: int, total: int, reference_count: int, reference_total: int) -> float:
    """G2 of one word's counts in two texts, as corpus linguistics computes it (Rayson & Garside 2000, equation 2).

    At least 0; 0 where both rates are the same.
    """
    share = (count + reference_count) / (total + reference_total)
    cells = ((count, total * share), (reference_count, reference_total * share))
    return max(2 * sum(observed * math.log(observed / expected) for observed, expected in cells if observed), 0.0)


def estimate_chance_divergence(texts: Sequence[str], num: int, seed: int) -> float | None:
    """The divergence of so many of the texts from the others: what chance alone makes of a corpus of that size.

    Fewer texts are further from any others, as most of their words come once or never. Where not twice as many texts
    are there, half of them are drawn.

    Returns:
        bits, as `measure_unigram_divergence` gives them; None if one side holds no words.
    """
    drawn = frozenset(draw(range(len(texts)), min(num, len(texts) // 2), seed))
    sides: tuple[list[str], list[str]] = ([], [])
    for at, text in enumerate(texts):
        sides[at not in drawn].append(text)
    counts, others = map(count_words, sides)
    return measure_unigram_divergence(counts, others) if counts and others else None


def compute_distinct_n(texts: Iterable[str], n: int) -> float:
    """Different n-grams of words over all of them (Li et al. 2016), 0 to 1; 0 if no text has n words.

    It falls with the number of texts: compare equally many.
    """
    different, total = set(), 0
    for text in texts:
        words = normalize_text(text).split()
        grams = list(zip(*(words[start:] for start in range(n)), strict=False))
        different.update(grams)
        total += len(grams)
    return len(different) / total if total else 0.0


def compute_self_bleu(texts: Sequence[str], sample: int, seed: int) -> float:
    """How much texts repeat each other, 0 to 1: the mean BLEU-4 of each with all others as references.

    Zhu et al. (2018), by sacrebleu on lower case, with its smoothing and the order cut for short texts. Time grows
    with the square of the sample: 200 texts take seconds.

    Args:
        texts: of the corpus.
        sample: how many are drawn, without replacement.
        seed: of the draw.

    Returns:
        0 for fewer than two texts.
    """
    drawn = draw(texts, sample, seed)
    if len(drawn) < 2:
        return 0.0
    bleu = BLEU(lowercase=True, effective_order=True)
    scores = [bleu.sentence_score(text, drawn[:at] + drawn[at + 1 :]).score for at, text in enumerate(drawn)]
    return min(math.fsum(scores) / len(scores) / 100, 1.0)


def find_nearest_references(
    texts: Sequence[str], references: Sequence[str], num: int, seed: int
) -> list[NearestReference]:
    """For some texts the reference that is written most like them: what may have been learnt by heart.

    The similarity is rapidfuzz's ratio without regard to case and punctuation: 1 - (insertions + deletions of
    characters) / (characters of both). Of more than MOST_REFERENCES references so many are drawn.

    Args:
        texts: of the corpus.
        references: that it is held against.
        num: how many texts are drawn.
        seed: of both draws.

    Returns:
        the most alike first; empty without references.
    """
    drawn = draw(references, MOST_REFERENCES, seed)
    keys = [normalize_text(reference) for reference in drawn]
    pairs = []
    for text in draw(texts, num, seed):
        if match := process.extractOne(normalize_text(text), keys, scorer=fuzz.ratio):
            pairs.append(NearestReference(text, drawn[match[2]], match[1] / 100))
    return sorted(pairs, key=lambda pair: -pair.similarity)


def draw(items: Sequence[_Item], num: int, seed: int) -> list[_Item]:
    """At most so many of the items, without replacement, in their order; the same ones every time."""
    if len(items) <= num:
        return list(items)
    return [items[at] for at in sorted(random.Random(seed).sample(range(len(items)), num))]
