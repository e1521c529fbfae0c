"""JSON files with a checksum in them."""

import json
import random
from pathlib import Path

import pytest

from close_transfer.core.checksums import check_checksums, read_checked_fields, read_checked_json, write_checked_json
from close_transfer.core.errors import UserError
from tests.flips import flip_bit

FIELDS = {
    "name": "a dög\n\u2028",
    "count": 21,
    "share": 0.1 + 0.2,
    "more": {"b": [1, None, True], "a": {}},
    "empty": "",
}


def test_fields_are_read_as_they_were_written():
    write_checked_json(Path("file.json"), FIELDS)
    assert read_checked_json(Path("file.json")) == FIELDS
    assert read_checked_fields(Path("file.json"), {"count": int}) == {"count": 21}
    with pytest.raises(UserError, match=r"file\.json: is damaged \(field 'share' is missing or has another type"):
        read_checked_fields(Path("file.json"), {"share": int})


def test_no_flipped_bit_changes_a_value():
    path, rng = Path("file.json"), random.Random(0)
    write_checked_json(path, FIELDS)
    good, num_same = path.read_bytes(), 0
    for _ in range(300):
        path.write_bytes(flip_bit(good, rng))
        try:
            assert read_checked_json(path) == FIELDS  # for example another last digit of the same float
            num_same += 1
        except UserError as error:
            assert "file.json: is damaged" in str(error)
    assert num_same < 9


@pytest.mark.parametrize(
    "content", [None, "", "[]", "7", "{}", '{"checksum": 3}', '{"a": "\\ud800"}', json.dumps(FIELDS)]
)
def test_files_without_a_right_checksum_are_damaged(content):
    if content is not None:
        Path("file.json").write_text(content)
    with pytest.raises(UserError, match=r"file\.json: is damaged \(.*\)\. Restore it from a copy"):
        read_checked_json(Path("file.json"))


def test_missing_checksums_are_an_error():
    Path("folder").mkdir()
    with pytest.raises(UserError, match=r"folder/checksums\.json: is damaged \(it is missing\)"):
        check_checksums(Path("folder"))
