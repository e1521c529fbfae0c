"""Tests of the readers with malformed files.

A reader must raise a `UserError` that names the file and the place, and no other exception, and account for every row.
The tests parse each file a second time with the standard library, so that a damaged file that is still valid must
give exactly its contents.
"""

import csv
import gzip
import io
import json
import re
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from close_transfer.core.errors import UserError
from close_transfer.core.readers.records import read_document, read_lines
from close_transfer.data.image_files import open_image
from close_transfer.encoders.precomputed import read_array
from tests.data.sources.made import load
from tests.malformed.damage import FILES
from tests.markers import mostly_slow

CASES = {name: make() for name, make in FILES.items()}
UNREADABLE = (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"PK\x03\x04")
LONGEST_LINE = 16 * 2**20


def every_case_of(*names):
    return pytest.mark.parametrize(
        ("name", "case"), [(name, case) for name in names for case in CASES[name]], ids=lambda value: str(value)
    )


def split_lines(content):
    """Return the lines as text, with lone surrogates for bytes that are not UTF-8."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    return [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]


def usable(text):
    """Return a text as it should be loaded; None if it should be refused."""
    if not isinstance(text, str) or "\0" in text or not text.split():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return " ".join(text.split())


def _one_of_each(pairs):
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def json_rows(content):
    """Return the texts of each row, or None for a row that cannot be used."""
    rows = []
    for line in split_lines(content):
        try:
            if len(line) >= LONGEST_LINE:
                raise ValueError("a line without end")
            value = json.loads(line, object_pairs_hook=_one_of_each)["text"]
            texts = [usable(text) for text in (value if isinstance(value, list) else [value])]
            rows.append(texts if texts and None not in texts else None)
        except (ValueError, TypeError, KeyError, RecursionError):
            rows.append(None)
    return rows


def cell_rows(content, delimiter):
    """Return the same for rows below a header; None instead of a list if the file cannot be parsed with certainty."""
    lines = split_lines(content)
    while lines and len(lines[0]) >= LONGEST_LINE:
        return None
    if delimiter == "\t":
        parsed = [line.split("\t") if line.strip() and len(line) < LONGEST_LINE else None for line in lines]
    else:
        if any(len(line) > csv.field_size_limit() for line in lines):
            lines = ["," if len(line) > csv.field_size_limit() else line for line in lines]
            lines = ["a,b,c" if line == "," else line for line in lines]  # of no use, and a row
        try:
            parsed = list(csv.reader((line + "\n" for line in lines), strict=True))
        except csv.Error:
            return None
        parsed = [row if row and any(cell.strip() for cell in row) else None for row in parsed]
    while parsed and parsed[0] is None:
        return None
    if not parsed or parsed[0].count("text") != 1 or len(set(parsed[0])) < len(parsed[0]):
        return None
    column = parsed[0].index("text")
    fit = [row if row and len(row) == len(parsed[0]) else None for row in parsed[1:]]
    texts = [usable(row[column]) if row else None for row in fit]
    return [[text] if text else None for text in texts]


def read(name, *overrides):
    """Load the table, and return it or its `UserError`; any other exception fails the test."""
    try:
        # The rows are compared with what the file holds, also if that is texts in quotes.
        return load("file", "captioning", "test", f"path={name}", "check_text=false", *overrides)
    except UserError as error:
        assert name in str(error)
        return error


def check_rows(name, rows):
    """Check that the reader gives `rows`; None means that it must refuse the whole file."""
    strict, lenient = read(name), read(name, "on_bad_rows=skip")
    good = [texts for texts in rows or [] if texts]
    if rows is None or not good:
        assert isinstance(strict, UserError)
        assert isinstance(lenient, UserError)
        return
    if None in rows:
        assert isinstance(strict, UserError)
        assert re.search(r", line \d+: ", str(strict))
        assert "data.on_bad_rows=skip" in str(strict)
    else:
        assert strict.num_skipped == 0
        assert [list(dict.fromkeys(texts)) for texts in rows] == [list(e.texts) for e in strict.examples]
    assert not isinstance(lenient, UserError), lenient
    assert [list(e.texts) for e in lenient.examples] == [list(dict.fromkeys(texts)) for texts in good]
    assert len(lenient.examples) + lenient.num_skipped == len(rows)


@every_case_of("bad.jsonl")
def test_json_lines(name, case):
    content = CASES[name][case]
    Path(name).write_bytes(content)
    check_rows(name, None if content.startswith(UNREADABLE) else json_rows(content))


@every_case_of("bad.csv", "bad.tsv")
def test_cells(name, case):
    content = CASES[name][case]
    Path(name).write_bytes(content)
    rows = None if content.startswith(UNREADABLE) else cell_rows(content, "\t" if "tsv" in name else ",")
    if rows is not None or name == "bad.tsv":
        check_rows(name, rows)
        return
    assert isinstance(read(name), UserError)
    lenient = read(name, "on_bad_rows=skip")
    # A row that is not CSV by itself is skipped; if a quote stays open, no row is.
    if not isinstance(lenient, UserError):
        assert len(lenient.examples) + lenient.num_skipped == len(split_lines(content)) - 1


@every_case_of("bad.jsonl.gz")
def test_packed_lines(name, case):
    content = CASES[name][case]
    Path(name).write_bytes(content)
    try:
        unpacked = gzip.decompress(content) if content else b""
    except Exception:
        unpacked = None
    readable = unpacked is not None and not unpacked.startswith(UNREADABLE)
    check_rows(name, json_rows(unpacked) if readable else None)
    if unpacked is None:
        assert re.search(r"damaged or truncated|nothing to use|is a zip archive", str(read(name)))


def fits(array):
    with np.errstate(all="ignore"):
        return (
            array.ndim in (2, 3)
            and array.size > 0
            and np.issubdtype(array.dtype, np.floating)
            and bool(np.isfinite(array.astype(np.float32)).all())
        )


def check_array(name, expected):
    if expected is None or not fits(expected):
        with pytest.raises(UserError, match=re.escape(f"clip.text_embeddings={name}")):
            read_array(Path(name), "clip.text_embeddings")
    else:
        np.testing.assert_array_equal(read_array(Path(name), "clip.text_embeddings"), expected)


@every_case_of("bad.npy")
def test_npy(name, case):
    content = CASES[name][case]
    Path(name).write_bytes(content)
    file = io.BytesIO(content)
    try:
        expected = np.lib.format.read_array(file, allow_pickle=False)
    except Exception:
        expected = None
    check_array(name, None if file.read(1) else expected)


@every_case_of("bad.safetensors")
def test_safetensors(name, case):
    content = CASES[name][case]
    Path(name).write_bytes(content)
    try:
        tensors = list(safetensors.numpy.load(content).values())
    except Exception:
        tensors = []
    check_array(name, tensors[0] if len(tensors) == 1 else None)


@every_case_of("bad.png")
def test_images(name, case):
    Path(name).write_bytes(CASES[name][case])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(name) as image:
                image.load()
                expected = image.size
    except Exception:
        expected = None
    try:
        opened = open_image(Path(name))
    except UserError as error:
        assert str(error).startswith(f"{name}: cannot be read as an image (")
        assert len(str(error).splitlines()) == 1
        assert expected is None or case in ("nan", "long") or "too long" in str(error)
    else:
        assert opened.mode == "RGB"
        assert expected is not None
        assert sorted(opened.size) == sorted(expected)


@pytest.mark.parametrize("name", ["x" * 5000, ".", "nowhere", "a\0b"])
def test_names_that_are_no_files(name):
    readers = (
        lambda: read_array(Path(f"{name}.npy"), "embeddings"),
        lambda: open_image(Path(name)),
        lambda: list(read_lines(Path(f"{name}.jsonl"), "data.path")),
        lambda: read_document(Path(f"{name}.json"), "data.path"),
    )
    for reader in readers:
        with pytest.raises(UserError, match=re.escape(name)):
            reader()


def bomb(name, piece, megabytes):
    with gzip.open(name, "wb", 9) as file:
        for _ in range(megabytes * 2**20 // len(piece)):
            file.write(piece)
    assert Path(name).stat().st_size < megabytes * 2**20 / 200


@pytest.mark.parametrize(
    ("name", "piece"),
    mostly_slow(
        [
            ("zeros.jsonl.gz", b"\0" * 2**20),
            ("zeros.json.gz", b"\0" * 2**20),
            ("lines.jsonl.gz", b'{"text": "%s"}\n' % (b"a " * 2**15)),
            ("cells.csv.gz", b"text\n" + b"a " * 2**15 + b"\n"),
        ]
    ),
)
def test_what_unpacks_to_half_a_gigabyte_is_refused_in_little_memory(name, piece):
    bomb(name, piece, megabytes=500)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=re.escape(name) + ": unpacks to more than 100 times its size"):
            if name.endswith(".json.gz"):
                load("coco", "captioning", "test", f"files.test={name}")
            else:
                load("file", "captioning", "test", f"path={name}", "on_bad_rows=skip")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 400 * 2**20
