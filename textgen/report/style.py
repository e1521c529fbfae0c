"""How a corpus is written, in numbers beside those of its references, for the report and the card."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from close_transfer.core.errors import UserError
from close_transfer.core.text_normalization import normalize_text
from textgen.report.corpus_summary import CorpusSummary
from textgen.text.keywords import load_stop_list
from textgen.text.statistics import (
    NearestReference,
    WordRate,
    compare_word_rates,
    compute_distinct_n,
    compute_self_bleu,
    count_lengths,
    count_words,
    draw,
    estimate_chance_divergence,
    find_nearest_references,
    measure_unigram_divergence,
)

SEED = 0
MOST_FOR_DISTINCT = 20_000
MOST_FOR_SELF_BLEU = 200
_NUM_WORDS = 20
_NUM_NEAREST = 12
_MOST_BARS = 40
_TAIL = 0.995  # share of the texts that the histogram shows by length; longer ones share its last bar


@dataclass(frozen=True)
class Numbers:
    """Of some texts.

    Attributes:
        num_texts: of them.
        num_words: in them.
        num_different: different words.
        mean_words: of a text.
        median_words: of a text.
        distinct: distinct-1, -2 and -3 of equally many texts on both sides.
        self_bleu: of equally many texts on both sides, 0 to 1.
        with_style: share of the texts with any of the recipe's style words; None if it names none.
    """

    num_texts: int
    num_words: int
    num_different: int
    mean_words: float
    median_words: float
    distinct: tuple[float, float, float]
    self_bleu: float
    with_style: float | None


@dataclass(frozen=True)
class FrequentWord:
    """A word with how often it comes in 1,000 words."""

    word: str
    rate: float
    reference_rate: float | None


@dataclass(frozen=True)
class Bar:
    """Texts of `first` to `last` words, as shares of each side; the last bar has no `last`."""

    first: int
    last: int | None
    share: float
    reference_share: float | None

    @property
    def label(self) -> str:
        """Its lengths."""
        if self.last is None:
            return f"{self.first} or more"
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Style:
    """All that the report says of style; what needs references is None or empty without them.

    Attributes:
        corpus, references: numbers of both sides.
        num_distinct, num_self_bleu: texts that distinct-n and self-BLEU were computed from, on each side.
        divergence: of the words of both sides, in bits.
        divergence_by_chance: of as many references, drawn at random, from the others; of half of them, if there are fewer.
        words: the corpus's most frequent words; `content_words` without the stop list's.
        over, under: words that come more, and less, often than in the references.
        bars: of the histogram of lengths.
        nearest: for some texts the reference most like them.
    """

    corpus: Numbers
    references: Numbers | None
    num_distinct: int
    num_self_bleu: int
    divergence: float | None
    divergence_by_chance: float | None
    words: list[FrequentWord]
    content_words: list[FrequentWord]
    over: list[WordRate]
    under: list[WordRate]
    bars: list[Bar]
    nearest: list[NearestReference]


def measure_style(summary: CorpusSummary) -> Style | None:
    """The numbers of a corpus's `text` column; None if no text was kept."""
    texts = [record["text"] for record in summary.records]
    references = summary.references
    if not texts:
        return None
    smaller = min(len(texts), len(references) or len(texts))
    num_distinct, num_self_bleu = min(smaller, MOST_FOR_DISTINCT), min(smaller, MOST_FOR_SELF_BLEU)
    counts, reference_counts = count_words(texts), count_words(references)
    style_words = summary.recipe.settings.style_words
    lengths, reference_lengths = count_lengths(texts), count_lengths(references)

    def measure(some_texts: Sequence[str], words: Mapping[str, int], sizes: Mapping[int, int]) -> Numbers:
        drawn = draw(some_texts, num_distinct, SEED)
        distinct = (compute_distinct_n(drawn, 1), compute_distinct_n(drawn, 2), compute_distinct_n(drawn, 3))
        total = sum(words.values())
        return Numbers(
            len(some_texts),
            total,
            len(words),
            total / len(some_texts),
            statistics.median(_repeat_lengths(sizes)),
            distinct,
            compute_self_bleu(some_texts, num_self_bleu, SEED),
            _measure_share_with(some_texts, style_words) if style_words else None,
        )

    comparable = any(counts.values()) and any(reference_counts.values())
    over, under = compare_word_rates(counts, reference_counts, _NUM_WORDS)
    return Style(
        measure(texts, counts, lengths),
        measure(references, reference_counts, reference_lengths) if references else None,
        num_distinct,
        num_self_bleu,
        measure_unigram_divergence(counts, reference_counts) if comparable else None,
        estimate_chance_divergence(references, len(texts), SEED),
        _rank_words(counts, reference_counts, frozenset()),
        _rank_words(counts, reference_counts, _list_function_words(summary)),
        over,
        under,
        _build_bars(lengths, reference_lengths),
        find_nearest_references(texts, references, _NUM_NEAREST, SEED),
    )


def _repeat_lengths(sizes: Mapping[int, int]) -> list[int]:
    return [size for size, num in sizes.items() for _ in range(num)]


def _measure_share_with(texts: Sequence[str], style_words: Sequence[str]) -> float:
    """Share of texts that hold any of some words or word groups."""
    wanted = [f" {normalize_text(word)} " for word in style_words]
    num_with = sum(any(word in text for word in wanted) for text in (f" {normalize_text(text)} " for text in texts))
    return num_with / len(texts)


def _list_function_words(summary: CorpusSummary) -> frozenset[str]:
    """The stop list of the texts' language, whose entries are compared without punctuation; empty if there is none."""
    language = summary.config.filters.language or summary.config.keywords.language
    try:
        return frozenset(normalize_text(word) for word in load_stop_list(language))
    except UserError:
        return frozenset()


def _rank_words(
    counts: Mapping[str, int], reference_counts: Mapping[str, int], without: frozenset[str]
) -> list[FrequentWord]:
    total, reference_total = sum(counts.values()), sum(reference_counts.values())
    words = sorted((word for word in counts if word not in without), key=lambda word: (-counts[word], word))
    return [
        FrequentWord(
            word,
            1000 * counts[word] / total,
            1000 * reference_counts.get(word, 0) / reference_total if reference_total else None,
        )
        for word in words[:_NUM_WORDS]
    ]


def _build_bars(sizes: Mapping[int, int], reference_sizes: Mapping[int, int]) -> list[Bar]:
    """Lengths in at most _MOST_BARS bars and one for what is longer."""
    sides = [side for side in (sizes, reference_sizes) if side]
    first = min(min(side) for side in sides)
    last = max(_find_last_length(side) for side in sides)
    width = -(-(last - first + 1) // _MOST_BARS)
    edges = list(range(first, last + 1, width))
    num, reference_num = sum(sizes.values()), sum(reference_sizes.values())

    def measure_share(lengths: Mapping[int, int], total: int, start: int, end: int | None) -> float | None:
        if not total:
            return None
        return sum(n for size, n in lengths.items() if size >= start and (end is None or size <= end)) / total

    ends: list[int | None] = [edge + width - 1 for edge in edges]
    if max(max(side) for side in sides) > edges[-1] + width - 1:
        edges, ends = [*edges, edges[-1] + width], [*ends, None]
    return [
        Bar(
            start,
            end,
            measure_share(sizes, num, start, end) or 0.0,
            measure_share(reference_sizes, reference_num, start, end),
        )
        for start, end in zip(edges, ends, strict=True)
    ]


def _find_last_length(sizes: Mapping[int, int]) -> int:
    """The length that _TAIL of the texts do not exceed."""
    num_within, num_so_far = _TAIL * sum(sizes.values()), 0
    for size in sorted(sizes):
        num_so_far += sizes[size]
        if num_so_far >= num_within:
            return size
    return max(sizes)
