import numpy as np
import pytest

from close_transfer.core.packed_records import PackedRecords

RECORDS = [("a", (), None), ("\ud800 ü", ("x", "x"), 2**40), ("", ("y",), True), ("a", (), -1)]


@pytest.fixture
def packed():
    records = PackedRecords(lambda *fields: fields)
    for record in RECORDS:
        records.append_fields(*record)
    return records


def test_records_are_read_as_they_were_appended(packed):
    assert list(packed) == RECORDS
    assert (packed[-1], packed[np.int64(1)], packed[1:3]) == (RECORDS[-1], RECORDS[1], RECORDS[1:3])
    with pytest.raises(IndexError):
        packed[4]


def test_a_selection_is_in_the_order_of_its_rows(packed):
    assert list(packed.select(np.array([2, 0]))) == [RECORDS[2], RECORDS[0]]
