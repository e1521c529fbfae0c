"""Corrupting token ids for pretraining a sequence-to-sequence model.

Spans are drawn as T5 draws them (Raffel et al. 2020, arXiv 1910.10683, section 3.1.4): a number of
tokens and of spans that follow from the rate and the mean length, then a random way of splitting
dropped and kept tokens into so many runs. Unlike there, a span may begin at the first
token; the outermost tokens are dropped about half as often as those between.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


def count_sentinels(max_tokens: int, rate: float, mean_span_length: float) -> int:
    """Sentinels that texts of at most so many tokens can need: one a span, and one at the end."""
    return max(1, round((int(max_tokens * rate) + 1) / mean_span_length)) + 1


def _split(total: int, num_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`total` as a random sum of `num_parts` numbers >= 1, all such sums alike."""
    cuts = np.sort(rng.choice(total - 1, num_parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def choose_spans(
    num_tokens: int, rate: float, mean_span_length: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """(begin, end) of every dropped span, in order, with a kept token between any two.

    Over many texts the share of dropped tokens is `rate`, save that of two tokens or more at least
    one is dropped and at least one kept. A single token is kept.

    Args:
        num_tokens: tokens of the text, its end token not counted.
        rate: share to drop, between 0 and 1.
        mean_span_length: at least 1.
        rng: what is drawn comes from here.
    """
    if num_tokens < 2:
        return []
    num_dropped = min(max(int(num_tokens * rate + rng.random()), 1), num_tokens - 1)
    num_kept = num_tokens - num_dropped
    num_spans = min(max(1, round(num_dropped / mean_span_length)), num_dropped, num_kept + 1)
    dropped = _split(num_dropped, num_spans, rng)
    kept = _split(num_kept + 2, num_spans + 1, rng)
    kept[0] -= 1  # nothing need be kept before the first span
    begins = np.cumsum(kept[:-1]) + np.cumsum(dropped) - dropped
    return [(int(begin), int(begin + length)) for begin, length in zip(begins, dropped, strict=True)]


@dataclass(frozen=True)
class SpanCorruptor:
    """How a text becomes what the encoder reads and what the decoder writes.

    Without sentinels ("reconstruct") spans leave no trace and the decoder writes the whole text, as in
    BART's pretraining (Lewis et al. 2019, arXiv 1910.13461, section 2.2; there a mask marks the place).
    A high rate then trains what an adapter on four vector tokens asks of the model: whole sentences
    from partial evidence. With sentinels ("denoise") each span is replaced by one, and the decoder
    writes the spans, each behind its sentinel, with a last sentinel behind them: T5's objective.

    Attributes:
        rate: share of tokens dropped.
        mean_span_length: in tokens.
        end: the id that texts, inputs and targets end with.
        sentinels: ids, one a span and one more; empty for "reconstruct".
    """

    rate: float
    mean_span_length: float
    end: int
    sentinels: Sequence[int] = ()

    def __call__(self, ids: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Input and target ids of a text; `ids` and both results end with the end token."""
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
