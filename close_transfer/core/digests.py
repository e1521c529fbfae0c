"""Digests of texts in arrays, so that equal texts are found among millions without a Python object for each."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.arrays import IntArray

# Bytes. Equal digests are taken for equal texts, without a comparison of the texts: among ten million, two share 128 bits
# by chance with a probability below 1e-24.
DIGEST_SIZE = 16

Digests = NDArray[np.uint8]  # shape (items, DIGEST_SIZE)


def compute_digest(content: str) -> bytes:
    """Return the BLAKE2b hash of a text, `DIGEST_SIZE` bytes."""
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=DIGEST_SIZE).digest()


def pack_digests(digests: Iterable[bytes]) -> Digests:
    """Return digests of `DIGEST_SIZE` bytes as an array, shape (items, DIGEST_SIZE)."""
    content = bytearray()
    for digest in digests:
        content += digest
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, DIGEST_SIZE)


def find_first_equal(digests: Digests) -> IntArray:
    """Return for each digest the position of the first one that equals it, shape (items,)."""
    high, low = np.ascontiguousarray(digests).view(np.uint64).reshape(-1, 2).T
    order = np.lexsort((low, high))  # stable, so equal digests stay in the order of their positions
    is_new = np.ones(len(order), dtype=bool)
    for half in (high[order], low[order]):
        is_new[1:] &= half[1:] == half[:-1]
    is_new[1:] ^= True
    firsts = np.empty(len(order), dtype=np.int64)
    firsts[order] = order[is_new][is_new.cumsum() - 1]
    return firsts


def is_first_equal(digests: Digests) -> NDArray[np.bool_]:
    """Return True for each digest that equals no earlier one, shape (items,)."""
    return find_first_equal(digests) == np.arange(len(digests))
