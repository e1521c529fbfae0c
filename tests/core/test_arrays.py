"""Rows of unit length: bit for bit what each place computed by itself before it was one function."""

import numpy as np
import pytest

from close_transfer.core.arrays import normalize_rows
from close_transfer.core.errors import UserError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_have_unit_length_to_the_bit_of_float64(dtype):
    vectors = np.random.default_rng(0).standard_normal((50, 7)).astype(dtype)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    assert np.array_equal(normalize_rows(vectors), vectors / lengths)
    assert np.array_equal(normalize_rows(vectors, keep_zeros=True), vectors / lengths)


def test_a_row_of_zeros_is_refused_or_stays():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]])
    with pytest.raises(UserError, match="1 vectors are zero and have no direction"):
        normalize_rows(vectors)
    assert normalize_rows(vectors, keep_zeros=True).tolist() == [[0.6, 0.8], [0.0, 0.0]]
