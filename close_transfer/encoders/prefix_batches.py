"""Batches of tokenized texts in which each distinct prefix occurs once and padding not at all.

In a causal text tower, what a token becomes depends on the tokens before it only. "a man riding a horse" and "a man
riding a wave" therefore share the work on their first four words. The texts of 5,000 captions of COCO have 13.5 tokens
each on average, of which 10.4 are prefixes that no other text of the batch has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from close_transfer.core.arrays import IntArray
from close_transfer.encoders.background import copy_to_device

# Texts are batched with others of about their length, so that one long text does not make a batch of short ones wide.
# Narrower classes would separate texts that share prefixes.
_LENGTH_CLASS = 16
_MIN_ROWS = 16


@dataclass(frozen=True)
class PrefixBatch:
    """Texts of one batch as a tree of prefixes; a node is a distinct prefix, named by its last token.

    Attributes:
        tokens: last token of each node.
        positions: number of tokens before it.
        firsts: place of each node in the flattened `nodes`.
        nodes: node of each token of each text; any node after a text's end.
        lengths: number of tokens of each text.
    """

    tokens: Int[Tensor, " nodes"]
    positions: Int[Tensor, " nodes"]
    firsts: Int[Tensor, " nodes"]
    nodes: Int[Tensor, "texts length"]
    lengths: Int[Tensor, " texts"]

    def to(self, device: str) -> "PrefixBatch":
        """Copy the batch to a device; the host does not wait for a GPU."""
        tensors = (self.tokens, self.positions, self.firsts, self.nodes, self.lengths)
        return PrefixBatch(*(copy_to_device(tensor, device) for tensor in tensors))


def pad_batch(batch: PrefixBatch) -> PrefixBatch:
    """Fill a batch up to sizes at which a text's vector has the same bits in every batch.

    Sums of a CPU are ordered by the sizes of their arrays. At lengths that are multiples of 16, and at 16 rows or more,
    what other texts are in the batch changes nothing, so an encoding that was interrupted and continued gives the same
    vectors as one that was not. The added texts have one token and come last.
    """
    num_texts, length = batch.nodes.shape
    missing_texts, missing_nodes = (max(0, _MIN_ROWS - number) for number in (num_texts, len(batch.tokens)))
    padded_length = -(-length // _LENGTH_CLASS) * _LENGTH_CLASS
    firsts = batch.firsts // length * padded_length + batch.firsts % length
    return PrefixBatch(
        tokens=functional.pad(batch.tokens, (0, missing_nodes)),
        positions=functional.pad(batch.positions, (0, missing_nodes)),
        firsts=functional.pad(firsts, (0, missing_nodes)),
        nodes=functional.pad(batch.nodes, (0, padded_length - length, 0, missing_texts)),
        lengths=functional.pad(batch.lengths, (0, missing_texts), value=1),
    )


def build_prefix_batch(rows: IntArray, lengths: IntArray) -> PrefixBatch:
    """Find the distinct prefixes of tokenized texts.

    Args:
        rows: tokens, shape (texts, context). Only texts in consecutive rows share prefixes, so sorted rows share most.
        lengths: number of tokens of each text, at least 1.
    """
    length = int(lengths.max())
    columns = np.arange(length)
    is_token = columns < lengths[:, None]
    rows = np.where(is_token, rows[:, :length], -1)  # what follows the end is not part of a prefix
    is_new = np.ones(rows.shape, dtype=bool)
    is_new[1:] = np.logical_or.accumulate(rows[1:] != rows[:-1], axis=1)
    is_new &= is_token
    firsts = np.flatnonzero(is_new)
    nodes = np.zeros(rows.size, dtype=np.int64)
    nodes[firsts] = np.arange(len(firsts))
    # A token that is not new has the node of the text above, and nodes are numbered in the order of texts.
    nodes = np.maximum.accumulate(nodes.reshape(rows.shape), axis=0)
    arrays = (rows.ravel()[firsts], firsts % length, firsts, nodes, lengths)
    return PrefixBatch(*(torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)) for array in arrays))


def plan_batches(rows: IntArray, lengths: IntArray, max_tokens: int) -> Iterator[tuple[IntArray, PrefixBatch]]:
    """Yield batches of at most `max_tokens` tokens, padding included, with the positions of their texts.

    A text that is longer is a batch alone. The batches depend on the texts and their order only.
    """
    classes = -(-lengths // _LENGTH_CLASS)
    columns = rows[:, : int(lengths.max())].T
    order = np.lexsort((*columns[::-1], classes))  # by class, then by tokens
    start = 0
    while start < len(order):
        widths = np.maximum.accumulate(lengths[order[start : start + max_tokens]])
        sizes = widths * np.arange(1, len(widths) + 1)
        count = max(1, int(np.searchsorted(sizes, max_tokens, side="right")))
        texts = order[start : start + count]
        yield texts, build_prefix_batch(rows[texts], lengths[texts])
        start += count
