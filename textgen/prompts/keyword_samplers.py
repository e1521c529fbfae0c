"""Which keywords each request gets. Every sampler is endless and seeded, so a longer plan begins with the shorter one.

CLOSE (arXiv 2211.09778) compares `uniform` with `unigram`: with the same language model, keywords that follow the
corpus's own word frequencies are worth 16 CIDEr.
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


def unigram(keyword_counts: KeywordCounts, num: int, rng: random.Random) -> Iterator[Keywords]:
    """`num_texts` different keywords, each drawn as often as it occurs in the texts."""
    words, weights = list(keyword_counts.counts), list(accumulate(keyword_counts.counts.values()))
    while True:
        chosen: dict[str, None] = {}
        while len(chosen) < min(num, len(words)):
            chosen[rng.choices(words, cum_weights=weights)[0]] = None
        yield tuple(chosen)


def uniform(keyword_counts: KeywordCounts, num: int, rng: random.Random) -> Iterator[Keywords]:
    """`num_texts` different keywords, each as likely as any other."""
    words = list(keyword_counts.counts)
    while True:
        yield tuple(rng.sample(words, min(num, len(words))))


def pairs(keyword_counts: KeywordCounts, num: int, rng: random.Random) -> Iterator[Keywords]:
    """`num_texts` keywords of one text, so that they do occur together; each text is as likely as any other.

    Raises:
        UserError: if no text holds so many.
    """
    sets = [keyword_set for keyword_set in keyword_counts.sets if len(keyword_set) >= num]
    if not keyword_counts.sets:
        raise UserError("keywords.sampler=pairs: takes words of one text together; give references=FILE of texts")
    if not sets:
        raise UserError(
            f"keywords.sampler=pairs: no text holds {num} keywords (recipe.keywords={num}); ask for fewer, or give longer texts"
        )
    while True:
        yield tuple(rng.sample(rng.choice(sets), num))


@dataclass(frozen=True)
class Quota:
    """Keywords of a user's list and how often they are asked for, relative to the others."""

    keywords: Keywords
    weight: float


def read_quotas(path: Path) -> list[Quota]:
    """A user's list: `keyword` (several with commas between them) and `quota` (above 0; 1 where there is none) of each row.

    Of a .txt, each line is a keyword with quota 1.

    Raises:
        UserError: naming the row that cannot be used.
    """
    quotas = []
    for number, row in enumerate(read_rows(path, "keywords.list"), start=1):
        cell = row.get("keyword", row.get("text"))
        keywords = tuple(word.strip() for word in str(cell or "").split(",") if word.strip())
        if not keywords:
            raise UserError(f"{path}, row {number}: has no `keyword`; its columns are {', '.join(row)}")
        quota = row.get("quota")
        try:
            weight = 1.0 if quota is None or quota == "" else float(quota)
        except (TypeError, ValueError):
            weight = 0.0
        if not 0 < weight < 1e12:
            raise UserError(f"{path}, row {number}: quota {quota!r} should be a number above 0")
        quotas.append(Quota(keywords, weight))
    if not quotas:
        raise UserError(f"keywords.list={path}: the file is empty; give a keyword a line")
    return quotas


def by_quota(quotas: Sequence[Quota], rng: random.Random) -> Iterator[Keywords]:
    """The list's entries in turn, so that after any number each has come as often as its quota says, give or take one.

    Earliest deadline first among those whose turn has begun (Baruah et al., Proportionate progress, 1996): turn k of an
    entry that comes every p requests is within [floor((k - 1) p), ceil(k p)). In fractions, as rounding would let an
    entry slip out of its window. `rng` decides in what order equal ones come.
    """
    order = list(range(len(quotas)))
    rng.shuffle(order)
    total = sum(Fraction(quota.weight) for quota in quotas)
    periods = [total / Fraction(quota.weight) for quota in quotas]
    later: list[tuple[int, int, int]] = []  # (begin of the turn, entry, turn)
    begun = [(ceil(periods[entry]), place, entry, 1) for place, entry in enumerate(order)]  # (its end, ...)
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
SAMPLERS: Mapping[SamplerName, Sampler] = {"unigram": unigram, "uniform": uniform, "pairs": pairs}


def cycle_values(values: Mapping[str, Sequence[str]], rng: random.Random) -> Iterator[dict[str, Any]]:
    """One value of each variable, each equally often: every round holds each value once, in another order."""
    rounds: dict[str, list[str]] = {name: [] for name in values}
    while True:
        chosen = {}
        for name, allowed in values.items():
            if not rounds[name]:
                rounds[name] = list(allowed)
                rng.shuffle(rounds[name])
            chosen[name] = rounds[name].pop()
        yield chosen
