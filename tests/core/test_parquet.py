"""Parquet files: what they unpack to, and which columns are read."""

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from close_transfer.core.errors import UserError
from close_transfer.core.readers.parquet import check_unpacked_size
from close_transfer.core.readers.records import read_lines
from tests.data.sources.made import load

MEGABYTE = "x" * 2**20


def write(columns, **options):
    parquet.write_table(pa.table(columns), "a.parquet", **{"compression": "zstd", "write_statistics": False} | options)


def repeat(value, count):
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([value]))


def records(columns=None):
    return [record for _, record in read_lines(Path("a.parquet"), "data.path", columns=columns)]


def test_bytes_are_read_only_if_named_and_patterns_name_columns():
    images = pa.array([{"bytes": b"\0" * 100, "path": "1.jpg"}] * 2)
    write(
        {"image": images, "raw": pa.array([b"a", b"b"]), "caption_0": ["A dog.", "A cat."], "caption_1": ["A pup.", ""]}
    )
    assert (
        records()
        == records(["caption_*"])
        == [
            {"caption_0": "A dog.", "caption_1": "A pup."},
            {"caption_0": "A cat.", "caption_1": ""},
        ]
    )
    assert records(["raw"]) == [{"raw": b"a"}, {"raw": b"b"}]
    with pytest.raises(UserError, match=r"there is no column 'text_\*'; its columns are 'image', 'raw', 'caption_0'"):
        records(["text_*"])


BOMBS = {
    "a long text, repeated": lambda: write({"text": repeat(MEGABYTE, 6000)}),
    "a text in one list, repeated": lambda: write(
        {"text": pa.ListArray.from_arrays(pa.array([0, 9_000_000], pa.int32()), repeat("abc", 9_000_000))}
    ),
    "a long text in lists, repeated": lambda: write(
        {"text": pa.ListArray.from_arrays(pa.array([0, 3000, 6000], pa.int32()), repeat(MEGABYTE, 6000))}
    ),
    "a text of 100 MB": lambda: write({"text": [MEGABYTE * 100]}, use_dictionary=False),
    "numbers, repeated": lambda: write({"text": pa.repeat(7, 9_000_000)}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_unpacks_to_far_more_is_refused_in_little_memory(name):
    BOMBS[name]()
    assert Path("a.parquet").stat().st_size < 100_000
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    tracemalloc.start()
    try:
        for read in (
            lambda: load("file", "captioning", "test", "path=a.parquet"),
            lambda: check_unpacked_size(Path("a.parquet")),
        ):
            with pytest.raises(UserError, match=r"a\.parquet: unpacks to more than 100 times its size"):
                read()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 50 * 2**20
    assert pool.bytes_allocated() - before < 50 * 2**20


def test_dictionaries_are_unpacked_in_all_types():
    rows = [
        {"text": "a dog", "many": ["a", "b"], "answers": [{"answer": "x", "n": 1}], "struct": {"answer": ["y", "x"]}},
        {"text": None, "many": [], "answers": [], "struct": {"answer": None}},
        {"text": "a dog", "many": None, "answers": [{"answer": "x", "n": None}], "struct": None},
    ]
    parquet.write_table(pa.Table.from_pylist(rows * 7000), "a.parquet", row_group_size=5000)
    assert records() == rows * 7000
    assert records(["many"]) == [{"many": row["many"]} for row in rows] * 7000
    check_unpacked_size(Path("a.parquet"))


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_every_encoding_of_texts_is_read(encoding):
    texts = [f"{'a long beginning ' * 9}{number}" for number in range(3000)]
    write({"text": texts}, use_dictionary=False, column_encoding={"text": encoding})
    assert [record["text"] for record in records()] == texts


def test_long_texts_are_read_in_order():
    texts = [str(number % 10) * (number % 7 * 50_000 + 1) for number in range(400)]
    write({"text": texts}, compression="none", use_dictionary=False)
    assert [record["text"] for record in records()] == texts


def test_only_the_columns_that_are_named_are_read(monkeypatch):
    write({"text": ["a dog", "a cat"], "image": [b"1" * 1000, b"2" * 1000]})
    iter_batches, columns_read = parquet.ParquetFile.iter_batches, []

    def watch(self, *args, columns=None, **more):
        columns_read.append(columns)
        return iter_batches(self, *args, columns=columns, **more)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", watch)
    assert [e.texts for e in load("file", "captioning", "test", "path=a.parquet").examples] == [("a dog",), ("a cat",)]
    assert columns_read == [["text"]]
    with pytest.raises(
        UserError,
        match=r"data\.path=a\.parquet: there is no column 'caption'; its columns are 'text', 'image'\. Give one",
    ):
        load("file", "captioning", "test", "path=a.parquet", "text_column=caption")
