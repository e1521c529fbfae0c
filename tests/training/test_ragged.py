import numpy as np
import pytest

from close_transfer.training.ragged import Ragged


@pytest.mark.parametrize(
    ("rows", "dtype"),
    [([[0, 65_535], [], [7]], np.uint16), ([[0, 65_536], [], [7]], np.int32), ([[-100, 1], [], [7]], np.int32)],
)
def test_rows_are_kept_in_as_few_bytes_as_hold_them(rows, dtype):
    ragged = Ragged.from_rows(rows)
    assert ragged.values.dtype == dtype
    assert [ragged[number].tolist() for number in range(3)] == rows
    assert ragged[0].dtype == np.int32
    assert ragged.pad([2, 0], -100).tolist() == [[7, -100], rows[0]]
