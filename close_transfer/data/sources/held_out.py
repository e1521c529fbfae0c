"""Share of the scenes that is held out for validation, if both splits are read from one table."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.digests import DIGEST_SIZE, find_first_equal, pack_digests


def choose_side(
    iterate_keys: Callable[[], Iterable[str]], num: int, split: str | None, share: float
) -> tuple[NDArray[np.bool_], list[str]]:
    """Return True for each item that is on the side of the split, and a note if there is one scene for both.

    Args:
        iterate_keys: returns the scene of each item; items of one scene are on one side.
        num: number of items.
        split: "train", "val", or None for all items.
        share: share of the scenes that is held out for "val", at least one. A hash of the key chooses them, so that
            added rows move few scenes.
    """
    if split is None:
        return np.ones(num, dtype=bool), []
    digests = pack_digests(bytes.fromhex(fingerprint(["validation", key])[: 2 * DIGEST_SIZE]) for key in iterate_keys())
    first_of_scene = find_first_equal(digests)
    scenes = np.flatnonzero(first_of_scene == np.arange(num))
    if len(scenes) == 1:
        return np.ones(num, dtype=bool), ["there is one scene only, so validation sees the training text"]
    high, low = digests[scenes].view(">u8").T  # big-endian, so that numbers are in the order of the hashes
    is_held_out = np.zeros(num, dtype=bool)
    is_held_out[scenes[np.lexsort((low, high))[: max(1, round(share * len(scenes)))]]] = True
    return is_held_out[first_of_scene] == (split == "val"), []
