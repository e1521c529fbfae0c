from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError, RecordErrors


def test_errors_are_reported_with_the_setting_that_skips_them():
    errors = RecordErrors(Path("seeds.jsonl"), "error", "seeds", skip="seeds.on_bad_rows=skip")
    for number in range(1, 8):
        errors.add(f"line {number}", RecordError("field 'text' is missing"))
    with pytest.raises(UserError) as caught:
        errors.settle(20)
    lines = str(caught.value).splitlines()
    assert lines[0] == "seeds.jsonl, line 1: field 'text' is missing"
    assert lines[-2] == "and 2 more such seeds"
    assert lines[-1] == "Correct the file, or skip and count such seeds with seeds.on_bad_rows=skip"


def test_skipped_records_are_counted():
    errors = RecordErrors(Path("seeds.jsonl"), "skip", "seeds")
    errors.add("line 1", RecordError("field 'text' is missing"))
    assert errors.settle(1) == {"unusable seeds": 1}
    with pytest.raises(UserError, match="there is nothing to use in it"):
        errors.settle(0)
