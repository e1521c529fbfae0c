"""Style statistics of a corpus, alone and compared with reference texts.

Words are those of `normalize_text`: lower case, no punctuation, split at spaces.
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

MAX_REFERENCES = 50_000  # limit for the search of nearest references, which compares every pair
# Critical value of G2 at p < 0.0001 with one degree of freedom (Rayson, Berridge & Francis 2004).
SIGNIFICANT = 15.13
_SMOOTHING = 0.5  # occurrences added on both sides, so that the ratio is finite for a word that one side lacks


class WordRate(NamedTuple):
    """Frequency of a word in a corpus compared with its references.

    Attributes:
        word: the word in lower case.
        occurrences: its number in the corpus.
        reference_occurrences: its number in the references.
        ratio: rate in the corpus / rate in the references; 23.0 is 23 times as often, 0.5 half as often.
        g2: log-likelihood ratio of the two rates, at least 0.
    """

    word: str
    occurrences: int
    reference_occurrences: int
    ratio: float
    g2: float


class NearestReference(NamedTuple):
    """Text with its most similar reference and their similarity, 0 to 1."""

    text: str
    reference: str
    similarity: float


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the occurrences of each word."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalize_text(text).split())
    return counts


def count_lengths(texts: Iterable[str]) -> dict[int, int]:
    """Count the texts of each length in words; shortest length first."""
    return dict(sorted(Counter(len(normalize_text(text).split()) for text in texts).items()))


def measure_unigram_divergence(counts: Mapping[str, int], reference_counts: Mapping[str, int]) -> float:
    """Return the Jensen-Shannon divergence of two word distributions, in bits.

    Lin (1991), equation 4.1 with equal weights: 0 for the same distribution, 1 for no word in common.

    Raises:
        ValueError: if one side has no words.
    """
    total, reference_total = sum(counts.values()), sum(reference_counts.values())
    if not total or not reference_total:
        raise ValueError("the divergence is not defined for a side without words. Give at least one word per side")
    terms = []
    for word in counts.keys() | reference_counts.keys():
        p, q = counts.get(word, 0) / total, reference_counts.get(word, 0) / reference_total
        terms += [share / 2 * math.log2(2 * share / (p + q)) for share in (p, q) if share]
    # The order of the set differs between processes; `fsum` is exact, so the result does not depend on it.
    return min(max(math.fsum(terms), 0.0), 1.0)


def compare_word_rates(
    counts: Mapping[str, int], reference_counts: Mapping[str, int], num: int
) -> tuple[list[WordRate], list[WordRate]]:
    """Find the words that the corpus overuses and underuses most, compared with the references.

    Only words whose rates differ significantly (G2 of Dunning 1993, above SIGNIFICANT) are listed.

    Args:
        counts: word -> occurrences in the corpus.
        reference_counts: word -> occurrences in the references.
        num: largest number of words in each list.

    Returns:
        overused words, largest ratio first, and underused words, smallest ratio first; empty if a side has no words.
    """
    total, reference_total = sum(counts.values()), sum(reference_counts.values())
    if not total or not reference_total:
        return [], []
    rates = []
    for word in counts.keys() | reference_counts.keys():
        count, reference_count = counts.get(word, 0), reference_counts.get(word, 0)
        g2 = compute_log_likelihood(count, total, reference_count, reference_total)
        if g2 > SIGNIFICANT:
            rate = (count + _SMOOTHING) / (total + _SMOOTHING)
            reference_rate = (reference_count + _SMOOTHING) / (reference_total + _SMOOTHING)
            rates.append(WordRate(word, count, reference_count, rate / reference_rate, g2))
    over = sorted((rate for rate in rates if rate.ratio > 1), key=lambda rate: (-rate.ratio, rate.word))
    under = sorted((rate for rate in rates if rate.ratio < 1), key=lambda rate: (rate.ratio, rate.word))
    return over[:num], under[:num]


def compute_log_likelihood(count: int, total: int, reference_count: int, reference_total: int) -> float:
    """Return G2, the log-likelihood ratio of a word's counts in two corpora (Rayson & Garside 2000, equation 2).

    Args:
        count: occurrences of the word in the corpus.
        total: number of words of the corpus.
        reference_count: occurrences of the word in the references.
        reference_total: number of words of the references.

    Returns:
        G2, at least 0; 0 if both rates are equal.
    """
    share = (count + reference_count) / (total + reference_total)
    cells = ((count, total * share), (reference_count, reference_total * share))
    return max(2 * sum(observed * math.log(observed / expected) for observed, expected in cells if observed), 0.0)


def estimate_chance_divergence(texts: Sequence[str], num: int, seed: int) -> float | None:
    """Estimate the divergence that sampling alone causes between a corpus of `num` texts and its references.

    Small samples diverge more, because most words occur in them once or never. The estimate is the divergence of `num`
    of the texts, drawn at random, from the rest. If there are fewer than 2 * `num` texts, half of them are drawn.

    Args:
        texts: the references.
        num: number of texts of the corpus.
        seed: seed of the draw.

    Returns:
        divergence in bits, as `measure_unigram_divergence`; None if one side has no words.
    """
    drawn_places = frozenset(draw(range(len(texts)), min(num, len(texts) // 2), seed))
    sides: tuple[list[str], list[str]] = ([], [])
    for place, text in enumerate(texts):
        sides[place not in drawn_places].append(text)
    counts, others = map(count_words, sides)
    return measure_unigram_divergence(counts, others) if counts and others else None


def compute_distinct_n(texts: Iterable[str], n: int) -> float:
    """Return distinct-n: the number of different word n-grams / number of all n-grams (Li et al. 2016), 0 to 1.

    It falls with the number of texts, so compare equal numbers. It is 0 if no text has n words.
    """
    distinct, total = set(), 0
    for text in texts:
        words = normalize_text(text).split()
        grams = list(zip(*(words[start:] for start in range(n)), strict=False))
        distinct.update(grams)
        total += len(grams)
    return len(distinct) / total if total else 0.0


def compute_self_bleu(texts: Sequence[str], sample: int, seed: int) -> float:
    """Return self-BLEU: the mean BLEU-4 of each text with all others as references (Zhu et al. 2018).

    Computed by sacrebleu in lower case, with its smoothing and a lower n-gram order for short texts. Time grows with the
    square of the sample; 200 texts take seconds.

    Args:
        texts: texts of the corpus.
        sample: number of texts to draw, without replacement.
        seed: seed of the draw.

    Returns:
        self-BLEU, 0 to 1; more means more alike. 0 for fewer than two texts.
    """
    sampled = draw(texts, sample, seed)
    if len(sampled) < 2:
        return 0.0
    bleu = BLEU(lowercase=True, effective_order=True)
    scores = [bleu.sentence_score(text, sampled[:at] + sampled[at + 1 :]).score for at, text in enumerate(sampled)]
    return min(math.fsum(scores) / len(scores) / 100, 1.0)


def find_nearest_references(
    texts: Sequence[str], references: Sequence[str], num: int, seed: int
) -> list[NearestReference]:
    """Find the most similar reference for a sample of texts, which shows copies of references.

    The similarity is rapidfuzz's ratio, ignoring case and punctuation: 1 - (inserted + deleted characters) / (characters
    of both). If there are more than MAX_REFERENCES references, that many of them are drawn.

    Args:
        texts: texts of the corpus.
        references: reference texts.
        num: number of texts to draw.
        seed: seed of both draws.

    Returns:
        pairs of text and reference, most similar first; empty without references.
    """
    sampled = draw(references, MAX_REFERENCES, seed)
    keys = [normalize_text(reference) for reference in sampled]
    pairs = []
    for text in draw(texts, num, seed):
        if match := process.extractOne(normalize_text(text), keys, scorer=fuzz.ratio):
            pairs.append(NearestReference(text, sampled[match[2]], match[1] / 100))
    return sorted(pairs, key=lambda pair: -pair.similarity)


def draw(items: Sequence[_Item], num: int, seed: int) -> list[_Item]:
    """Draw at most `num` of the items, without replacement, and return them in their order.

    The same seed draws the same places.
    """
    if len(items) <= num:
        return list(items)
    return [items[place] for place in sorted(random.Random(seed).sample(range(len(items)), num))]
