import gzip
from collections import Counter
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from tests.data.sources.made import load, write

LINES = [f'a "{n}th dog , in the snow\thttp://example.org/{n}.jpg\n' for n in range(1, 6)]
TRAIN = "Train_GCC-training.tsv"


def test_a_caption_a_line_with_quotes_as_letters():
    write(TRAIN, "".join(LINES))
    loaded = load("conceptual-captions", "captioning", "train")
    assert [e.texts for e in loaded.examples] == [(f'a "{n}th dog , in the snow',) for n in range(1, 6)]
    assert len({e.id for e in loaded.examples}) == 5


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_limit_ends_the_reading_before_a_later_damage(packed):
    write(TRAIN + packed, "".join(LINES[:3]) + "a line without an address\n")
    loaded = load("conceptual-captions", "captioning", "train", "max_captions=3")
    assert len(loaded.examples) == 3
    assert loaded.num_skipped == 0
    with pytest.raises(UserError, match=r"line 4: 1 fields where there should be 2 \(caption, url\)"):
        load("conceptual-captions", "captioning", "train")


def test_a_limit_ends_the_unpacking_too():
    whole = gzip.compress("".join(LINES * 100_000).encode(), 1)
    Path(f"{TRAIN}.gz").write_bytes(whole[: len(whole) // 2])
    assert len(load("conceptual-captions", "captioning", "train", "max_captions=3").examples) == 3
    with pytest.raises(UserError, match=r"line [\d]+: the file is damaged or truncated"):
        load("conceptual-captions", "captioning", "train")


def test_bad_lines_are_counted():
    write(TRAIN, LINES[0] + "\thttp://example.org/x.jpg\n" + "a\tb\tc\n" + "\n" + LINES[1])
    loaded = load("conceptual-captions", "captioning", "train", "on_bad_rows=skip")
    assert len(loaded.examples) == 2
    assert loaded.skipped == Counter({"unusable lines": 3})


def test_there_is_no_test_split():
    with pytest.raises(
        UserError, match=r"split=test: data=conceptual-captions has no file for this split\. Use one of train, val"
    ):
        load("conceptual-captions", "captioning", "test")
