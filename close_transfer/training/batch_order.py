"""Order of the examples: the global batch of every optimiser step, from the seed alone.

Each optimiser step has a global batch, which does not depend on the number of processes or on gradient
accumulation. Those only decide into how many parts it is split.
"""

from collections.abc import Iterator

import numpy as np

from close_transfer.core.arrays import IntArray

# Batches whose examples are sorted by length together. Larger pools save a little padding, but then a
# batch holds questions of one kind only, and the model learns later what all questions share.
_BATCHES_PER_POOL = 8


def split_batch(num_rows: int, num_parts: int) -> list[tuple[IntArray, float]]:
    """Return the positions of each part's rows in a global batch, in order, and the weight of the part's loss: 1.

    The last batch of an epoch may have fewer rows than there are parts. A part that would be empty repeats the first
    row with weight 0, because the processes wait for each other's gradients: each must go backward.
    """
    parts = np.array_split(np.arange(num_rows), num_parts)
    return [(part, 1.0) if len(part) else (np.arange(1), 0.0) for part in parts]


def count_steps_per_epoch(num_examples: int, batch_size: int, max_examples: int | None = None) -> int:
    """Return the number of optimiser steps in an epoch of at most `max_examples` examples.

    The last batch may be smaller than the others.
    """
    return -(-min(num_examples, max_examples or num_examples) // batch_size)


def make_epoch_batches(
    lengths: IntArray, batch_size: int, seed: int, epoch: int, max_examples: int | None = None
) -> list[IntArray]:
    """Return the global batches of one epoch: each example once, similar lengths together, in random order.

    With `max_examples`, each epoch is another random draw of that many examples. The result depends on the
    arguments only, so an interrupted epoch can be resumed at any step.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))[:max_examples]
    batches = []
    pool = _BATCHES_PER_POOL * batch_size
    for start in range(0, len(order), pool):
        chunk = order[start : start + pool]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def iterate_batches(
    lengths: IntArray, batch_size: int, seed: int, first_step: int, num_steps: int, max_examples: int | None = None
) -> Iterator[IntArray]:
    """Yield the global batches of optimiser steps `first_step` to `num_steps`, over as many epochs as needed."""
    steps_per_epoch = count_steps_per_epoch(len(lengths), batch_size, max_examples)
    for epoch in range(first_step // steps_per_epoch, -(-num_steps // steps_per_epoch)):
        begin = max(0, first_step - epoch * steps_per_epoch)
        end = min(steps_per_epoch, num_steps - epoch * steps_per_epoch)
        yield from make_epoch_batches(lengths, batch_size, seed, epoch, max_examples)[begin:end]
