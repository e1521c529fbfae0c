"""Span corruption of token ids, for pretraining an encoder-decoder.

Spans are drawn as T5 draws them (Raffel et al. 2020, arXiv 1910.10683, section 3.1.4): the rate and the mean
length give the number of dropped tokens and of spans, then dropped and kept tokens are split at random.
Unlike in T5, a span may begin at the first token. The first and last tokens are dropped about half as often
as the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TokenIds = NDArray[np.int32]


def count_sentinels(max_tokens: int, rate: float, mean_span_length: float) -> int:
    """Return how many sentinels a text of at most `max_tokens` tokens can need: one per span, and one at the end."""
    return max(1, round((int(max_tokens * rate) + 1) / mean_span_length)) + 1


def _split(total: int, num_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `total` as a random sum of `num_parts` numbers >= 1; all such sums are equally likely."""
    cuts = np.sort(rng.choice(total - 1, num_parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def choose_spans(
    num_tokens: int, rate: float, mean_span_length: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return (begin, end) of every dropped span, in order, with at least one kept token between two spans.

    Over many texts the share of dropped tokens is `rate`. In a text of two or more tokens at least one is
    dropped and at least one is kept. A single token is kept.

    Args:
        num_tokens: number of tokens of the text, without its end token.
        rate: share of tokens to drop, between 0 and 1.
        mean_span_length: mean number of tokens per span, at least 1.
        rng: source of the draws.
    """
    if num_tokens < 2:
        return []
    num_dropped = min(max(int(num_tokens * rate + rng.random()), 1), num_tokens - 1)
    num_kept = num_tokens - num_dropped
    num_spans = min(max(1, round(num_dropped / mean_span_length)), num_dropped, num_kept + 1)
    dropped = _split(num_dropped, num_spans, rng)
    kept = _split(num_kept + 2, num_spans + 1, rng)
    kept[0] -= 1  # a span may begin at the first token
    begins = np.cumsum(kept[:-1]) + np.cumsum(dropped) - dropped
    return [(int(begin), int(begin + length)) for begin, length in zip(begins, dropped, strict=True)]


@dataclass(frozen=True)
class SpanCorruptor:
    """Corruptor that turns a text into the encoder's input and the decoder's target.

    Without sentinels ("reconstruct") spans leave no trace and the decoder writes the whole text, as in
    BART's pretraining (Lewis et al. 2019, arXiv 1910.13461, section 2.2; BART puts a mask in their place).
    A high rate then trains what a prefix of four tokens will need: whole sentences from partial evidence.
    With sentinels ("denoise") a sentinel replaces each span, and the decoder writes each sentinel with its
    span, and a last sentinel. This is T5's objective.

    Attributes:
        rate: share of tokens dropped.
        mean_span_length: mean number of tokens per span.
        end: id of the token that ends texts, inputs and targets.
        sentinels: ids of the sentinels, one more than there are spans; empty for "reconstruct".
    """

    rate: float
    mean_span_length: float
    end: int
    sentinels: Sequence[int] = ()

    def __call__(self, ids: TokenIds, rng: np.random.Generator) -> tuple[TokenIds, TokenIds]:
        """Return the input and target ids of a text; `ids` and both results end with the end token."""
        body = ids[:-1]
        spans = choose_spans(len(body), self.rate, self.mean_span_length, rng)
        seen: list[int] = []
        written: list[int] = []
        kept_from = 0
        for number, (begin, stop) in enumerate(spans):
            seen += body[kept_from:begin].tolist()
            kept_from = stop
            if self.sentinels:
                seen.append(self.sentinels[number])
                written += [self.sentinels[number], *body[begin:stop].tolist()]
        seen += [*body[kept_from:].tolist(), self.end]
        if not self.sentinels:
            return np.array(seen, dtype=np.int32), ids
        written += [self.sentinels[len(spans)], self.end]
        return np.array(seen, dtype=np.int32), np.array(written, dtype=np.int32)
