"""Parquet files: what they unpack to, and which columns are read."""

import random
import struct
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from close_transfer.core.errors import UserError
from close_transfer.core.readers.parquet import check_unpacked_size
from close_transfer.core.readers.parquet_pages import Chunk, iterate_pages, read_chunks
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
    write({"raw": pa.array([b"a", b"b"])})
    with pytest.raises(
        UserError, match=r"data\.path=a\.parquet: all its columns hold bytes \('raw'\)\. Give a file with"
    ):
        records()


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


def test_columns_with_dots_in_their_names_have_the_same_limit():
    write({"caption.en": repeat(MEGABYTE, 110), "caption": ["a dog"] * 110})
    for columns in (None, ["caption.en"], ["caption"]):  # pyarrow reads both for the name before the dot
        with pytest.raises(UserError, match=r"a\.parquet: unpacks to more than 100 times its size"):
            check_unpacked_size(Path("a.parquet"), columns)
    write({"caption.en": ["a dog", "a cat"], "caption": ["a", "b"]})
    check_unpacked_size(Path("a.parquet"))
    assert records(["caption.en"]) == [{"caption.en": "a dog"}, {"caption.en": "a cat"}]


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


def write_footer_that_lies(columns):
    """Write a file whose footer says that its first column takes 100 bytes."""
    write(columns, use_dictionary=False)
    content = Path("a.parquet").read_bytes()
    (size,) = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - size : -8]
    true = encode_number(parquet.ParquetFile("a.parquet").metadata.row_group(0).column(0).total_uncompressed_size)
    assert true in footer
    changed = footer.replace(true, encode_number(100, len(true)))
    Path("a.parquet").write_bytes(content[: -8 - size] + changed + content[-8:])
    assert parquet.ParquetFile("a.parquet").metadata.row_group(0).column(0).total_uncompressed_size == 100


def encode_number(value, length=0):
    """Return a number in Thrift's compact protocol, in at least this many bytes."""
    value, content = 2 * value, bytearray()
    while True:
        value, rest = value >> 7, value & 127
        is_last = not value and len(content) + 1 >= length
        content.append(rest if is_last else rest | 128)
        if is_last:
            return bytes(content)


def test_a_page_is_not_unpacked_if_only_its_footer_says_that_it_is_small(monkeypatch):
    write_footer_that_lies({"text": [MEGABYTE * 80]})
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", lambda *_, **__: pytest.fail("a page was unpacked"))
    for read in (records, lambda: check_unpacked_size(Path("a.parquet"))):
        with pytest.raises(UserError, match=r"a\.parquet: unpacks to more than 100 times its size"):
            read()


def test_a_page_that_says_another_size_than_it_has():
    write({"text": ["a dog"]}, use_dictionary=False)
    content = Path("a.parquet").read_bytes()
    place = content.index(b"\x15\x00\x15") + 3  # behind the type of the page
    for size in (b"\x06", b"\x00", b"\x01"):  # 3, 0 and -1
        Path("a.parquet").write_bytes(content[:place] + size + content[place + 1 :])
        with pytest.raises(UserError, match=r"a\.parquet, row 1: the file is damaged or not Parquet"):
            records()
    # A longer number moves what follows, so only the header is read.
    Path("page").write_bytes(content[4:place] + encode_number(2**31 - 1) + content[place + 1 :])
    chunk = Chunk(0, "text", "text", True, False, False, num_values=1, size=1, start=0)
    assert next(iterate_pages(Path("page"), chunk)).size == 2**31 - 1


def write_image(num_rows):
    """Write rows with one image of a megabyte, which the file holds once."""
    image = pa.StructArray.from_arrays([repeat(random.Random(0).randbytes(2**20), num_rows)], ["bytes"])
    write({"image": image, "text": ["a dog"] * num_rows}, dictionary_pagesize_limit=2**30)


def test_an_image_counts_as_often_as_it_is_repeated():
    write_image(90)
    check_unpacked_size(Path("a.parquet"))
    write_image(110)
    assert Path("a.parquet").stat().st_size < 1.1 * 2**20
    with pytest.raises(UserError, match=r"a\.parquet: unpacks to more than 100 times its size"):
        check_unpacked_size(Path("a.parquet"))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_headers_of_pages_add_up_to_the_footer(version, dictionary):
    columns = {
        "text": [f"caption {number % 700} of many" for number in range(5000)],
        "many": [[str(number % 7)] * (number % 4) for number in range(5000)],
        "number": [None if number % 3 else number / 7 for number in range(5000)],
    }
    write(columns, use_dictionary=dictionary, data_page_version=version, data_page_size=1000, row_group_size=2000)
    groups = read_chunks(Path("a.parquet"))
    with parquet.ParquetFile("a.parquet") as file:
        assert [len(group) for group in groups] == [3] * file.num_row_groups
        for number, group in enumerate(groups):
            for chunk in group:
                expected = file.metadata.row_group(number).column(chunk.column)
                assert (chunk.path, chunk.num_values) == (expected.path_in_schema, expected.num_values)
                assert chunk.size == expected.total_uncompressed_size
                assert chunk.is_bytes == (expected.physical_type == "BYTE_ARRAY")
                assert chunk.has_dictionary == dictionary
                pages = list(iterate_pages(Path("a.parquet"), chunk))
                assert sum(page.num_values for page in pages) == chunk.num_values
                assert 0 < chunk.size - sum(page.size for page in pages) < 100 * len(pages)
                assert any(page.is_dictionary for page in pages) == dictionary
                assert any(page.refers for page in pages) == dictionary


@pytest.mark.slow
@pytest.mark.fuzz
def test_damaged_parquet_gives_rows_or_a_sentence():
    write({"text": [f"a dog {number % 9}" for number in range(50)], "n": list(range(50))}, compression="snappy")
    content, chance = Path("a.parquet").read_bytes(), random.Random(0)
    num_refused = 0
    for _ in range(4000):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 1, 4])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        Path("a.parquet").write_bytes(damaged[: chance.choice([len(damaged)] * 9 + [chance.randrange(len(damaged))])])
        try:
            records()
        except UserError as error:
            num_refused += 1
            assert str(error).startswith(("a.parquet", "data.path=a.parquet"))
    assert num_refused > 500
