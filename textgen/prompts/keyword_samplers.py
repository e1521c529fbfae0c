"""Samplers of each request's keywords. All are endless and seeded, so a longer plan begins with the shorter one.

CLOSE (arXiv 2211.09778) compares `uniform` with `unigram`: with the same language model, keywords that follow the word
frequencies of real captions gain 16 CIDEr.
"""

import heapq
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, count
from math import ceil, floor
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from textgen.config import SamplerName
from textgen.text.keywords import KeywordCounts
from textgen.text.readers import read_rows

Keywords = tuple[str, ...]


def sample_unigram(keyword_counts: KeywordCounts, num: int, rng: random.Random) -> Iterator[Keywords]:
    """Yield `num` different keywords, each with a probability proportional to the number of texts that contain it."""
    words, weights = list(keyword_counts.counts), list(accumulate(keyword_counts.counts.values()))
    while True:
        chosen: dict[str, None] = {}
        while len(chosen) < min(num, len(words)):
            chosen[rng.choices(words, cum_weights=weights)[0]] = None
        yield tuple(chosen)


def sample_uniform(keyword_counts: KeywordCounts, num: int, rng: random.Random) -> Iterator[Keywords]:
    """Yield `num` different keywords, all equally likely."""
    words = list(keyword_counts.counts)
    while True:
        yield tuple(rng.sample(words, min(num, len(words))))


def sample_pairs(keyword_counts: KeywordCounts, num: int, rng: random.Random) -> Iterator[Keywords]:
    """Yield `num` keywords of one text, which therefore do occur together; all texts are equally likely.

    Raises:
        UserError: if no text has `num` keywords.
    """
    sets = [keyword_set for keyword_set in keyword_counts.sets if len(keyword_set) >= num]
    if not keyword_counts.sets:
        raise UserError("keywords.sampler=pairs: needs texts to take words from. Give references=FILE")
    if not sets:
        raise UserError(
            f"keywords.sampler=pairs: no text has {num} keywords (recipe.keywords={num}). Lower recipe.keywords, or give longer texts"
        )
    while True:
        yield tuple(rng.sample(rng.choice(sets), num))


@dataclass(frozen=True)
class Quota:
    """Keywords of a user's list, with their frequency relative to the other entries."""

    keywords: Keywords
    weight: float


def read_quotas(path: Path) -> list[Quota]:
    """Read a user's keyword list.

    Each row has `keyword` (one, or several separated by commas) and optionally `quota` (above 0; default 1). In a .txt
    file each line is an entry with quota 1.

    Raises:
        UserError: names the row that cannot be used.
    """
    quotas = []
    for number, row in enumerate(read_rows(path, "keywords.list", "keyword"), start=1):
        cell = row.get("keyword", row.get("text"))
        keywords = tuple(word.strip() for word in str(cell or "").split(",") if word.strip())
        if not keywords:
            raise UserError(f"{path}, row {number}: has no `keyword`; its columns are {', '.join(row)}. Add a keyword")
        quota = row.get("quota")
        try:
            weight = 1.0 if quota is None or quota == "" else float(quota)
        except (TypeError, ValueError):
            weight = 0.0  # refused below
        if not 0 < weight < 1e12:
            raise UserError(f"{path}, row {number}: quota {quota!r} is not a number above 0. Correct it")
        quotas.append(Quota(keywords, weight))
    if not quotas:
        raise UserError(f"keywords.list={path}: the file is empty. Give one keyword per line")
    return quotas


def sample_by_quota(quotas: Sequence[Quota], rng: random.Random) -> Iterator[Keywords]:
    """Yield the list's entries so that after any number of requests each has come as often as its quota says, +- 1.

    Earliest deadline first among the turns that have begun (Baruah et al., Proportionate progress, 1996): turn k of an
    entry with period p falls within [floor((k - 1) p), ceil(k p)).

    Args:
        quotas: entries of the list.
        rng: random number generator; it decides the order of entries with equal deadlines.
    """
    order = list(range(len(quotas)))
    rng.shuffle(order)
    # Exact fractions: rounding could move a turn out of its window.
    total = sum(Fraction(quota.weight) for quota in quotas)
    periods = [total / Fraction(quota.weight) for quota in quotas]
    later: list[tuple[int, int, int]] = []  # (begin of the turn, entry, turn)
    begun = [(ceil(periods[entry]), place, entry, 1) for place, entry in enumerate(order)]  # (end of the turn, ...)
    heapq.heapify(begun)
    places = {entry: place for place, entry in enumerate(order)}
    for now in count():
        while later and later[0][0] <= now:
            _, entry, turn = heapq.heappop(later)
            heapq.heappush(begun, (ceil(turn * periods[entry]), places[entry], entry, turn))
        _, _, entry, turn = heapq.heappop(begun)
        heapq.heappush(later, (floor(turn * periods[entry]), entry, turn + 1))
        yield quotas[entry].keywords


Sampler = Callable[[KeywordCounts, int, random.Random], Iterator[Keywords]]
SAMPLERS: Mapping[SamplerName, Sampler] = {
    "unigram": sample_unigram,
    "uniform": sample_uniform,
    "pairs": sample_pairs,
}


def cycle_values(values: Mapping[str, Sequence[str]], rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yield one value of each variable, all equally often: each round has every value once, in random order."""
    rounds: dict[str, list[str]] = {name: [] for name in values}
    while True:
        chosen = {}
        for name, allowed in values.items():
            if not rounds[name]:
                rounds[name] = list(allowed)
                rng.shuffle(rounds[name])
            chosen[name] = rounds[name].pop()
        yield chosen
