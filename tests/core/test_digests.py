import numpy as np

from close_transfer.core.digests import compute_digest, find_first_equal, is_first_equal, pack_digests


def test_equal_digests_are_found_as_a_dictionary_finds_them():
    halves = [b"a" * 8, b"b" * 8, b"\0" * 8]
    digests = [halves[i] + halves[j] for i, j in np.random.default_rng(0).integers(0, 3, (50, 2))]
    first_of: dict[bytes, int] = {}
    expected = [first_of.setdefault(digest, place) for place, digest in enumerate(digests)]
    assert find_first_equal(pack_digests(digests)).tolist() == expected
    assert is_first_equal(pack_digests(digests)).tolist() == [place == first for place, first in enumerate(expected)]


def test_no_digest_and_one():
    assert find_first_equal(pack_digests([])).tolist() == []
    assert find_first_equal(pack_digests([compute_digest("a \ud800")])).tolist() == [0]
