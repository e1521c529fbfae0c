import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.packed_records import PackedRecords
from close_transfer.data.example_kinds import ROWS
from close_transfer.data.sources.own_examples import build_examples
from close_transfer.data.sources.own_rows import Row, append_row
from tests.data.sources.test_file import table


def test_joined_rows_of_one_side_need_ids_that_differ():
    # "scene 6" is held out. Of all rows, the second joins under the id of the first.
    rows = PackedRecords(Row)
    for number, (scene, name, image) in enumerate([("scene 6", "x", "1"), ("other", "y", "1"), ("other", "y", "2")]):
        append_row(rows, Row(number, (scene,), None, name, None, "What?", ("dog",), image=image))
    data = table(path="a.jsonl", id_column="id", val_share=0.05)
    with pytest.raises(UserError, match="'y' is the id of several"):
        build_examples(rows, data, ROWS, str, lambda number: None, "train", True)
