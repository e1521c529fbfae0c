"""Blocks of targets of similar length: a decoder computes each block at its own length, so less of it is padding.

Batches are sorted by the length of examples. The targets of one example still differ in length, and the longest target
of a batch would pad all others.
"""

from itertools import pairwise

import numpy as np

from close_transfer.core.arrays import IntArray

# First target, the target after the last one, and the length of a block.
Block = tuple[int, int, int]

# Time that a further block takes, in tokens: each calls the whole decoder, and adds to the gradient of all its weights.
_TOKENS_PER_BLOCK = 64


def split_by_length(lengths: IntArray) -> tuple[Block, ...]:
    """Return the blocks of targets that take the least time; none if the lengths are so similar that one is best.

    Args:
        lengths: number of tokens of each target, shortest first.
    """
    values, counts = np.unique(lengths, return_counts=True)
    ends = [0, *np.cumsum(counts).tolist()]
    # Least time of the targets up to each length, and the start of their last block (a shortest path).
    least, starts = [0], [0]
    for last, length in enumerate(values.tolist(), start=1):
        times = [least[start] + (ends[last] - ends[start]) * length + _TOKENS_PER_BLOCK for start in range(last)]
        least.append(min(times))
        starts.append(times.index(least[-1]))
    borders = [len(values)]
    while borders[-1]:
        borders.append(starts[borders[-1]])
    if len(borders) == 2:
        return ()
    return tuple((ends[first], ends[last], int(values[last - 1])) for first, last in pairwise(reversed(borders)))
