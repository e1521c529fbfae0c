"""Headers of .npy, .npz and faiss files that others made: an array or a sentence."""

import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from close_transfer.core.errors import UserError
from close_transfer.encoders.precomputed import read_array

ARRAY = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
SHAPES = [
    "(10**9,4)",
    "(-5,4)",
    "(5.0,4)",
    "(True,4)",
    "(99999999999999999999999,4)",
    "(None,4)",
    "('a',4)",
    "()",
    "(0,4)",
    "(2,3,4,5)",
]
TYPES = ["|O", "<f4<f4", "[('a','<f4')]", "<M8[s]", "|S0", "|V0", "<U1", "", "x" * 9000, "<c8", "<i8", "|b1"]
HEADERS = [f"{{'descr':'<f4','fortran_order':False,'shape':{shape}}}" for shape in SHAPES]
HEADERS += [f"{{'descr':{kind!r},'fortran_order':False,'shape':(5,4)}}" for kind in TYPES]
HEADERS += [
    "__import__('os').mkdir('ran')",
    "(" * 9000,
    "{" * 3000,
    "1" * 9999,
    "-" * 3000 + "1",
    "{'descr':'<f4'}",
    "[1]",
    "\0" * 50,
]


def write(version, header):
    """Write the array with another header as .npy, and in an archive."""
    text = header.encode("latin1") + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    content = b"\x93NUMPY" + bytes(version) + length + text + ARRAY.tobytes()
    Path("a.npy").write_bytes(content)
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("a.npy", content)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0), (9, 9)])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_headers(version, name):
    write(version, "{'descr':'<f4','fortran_order':False,'shape':(5,4)}")
    if version == (9, 9):
        with pytest.raises(UserError, match=rf"clip\.x={name}: the file is damaged or has another format"):
            read_array(Path(name), "clip.x")
    else:
        np.testing.assert_array_equal(read_array(Path(name), "clip.x"), ARRAY)
    for header in HEADERS:
        write(version, header)
        with pytest.raises(UserError, match=rf"^clip\.x={name}: .*\. [A-Z].*[^.]$"):
            read_array(Path(name), "clip.x")
    assert not Path("ran").exists()


def test_names_in_an_archive_are_on_one_line():
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("a\nb.npy", b"")
        archive.writestr("c.npy", b"")
    with pytest.raises(UserError, match=r"holds 2 arrays \('a\\nb', 'c'\)"):
        read_array(Path("a.npz"), "clip.x")


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.index"])
def test_damaged_files_are_an_array_or_a_sentence(name):
    if name == "a.index":
        head = struct.pack("<i q q q B i q", 4, 5, 1, 1, 1, 1, 20)
        Path(name).write_bytes(b"IxF2" + head + ARRAY.tobytes())
    else:
        {"a.npy": np.save, "a.npz": np.savez_compressed}[name](name, ARRAY)
    np.testing.assert_array_equal(read_array(Path(name), "clip.x"), ARRAY)
    content, chance = Path(name).read_bytes(), random.Random(0)
    for _ in range(1000):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 2, 8])):
            damaged[chance.randrange(min(len(damaged), chance.choice([130, 10**9])))] = chance.randrange(256)
        Path(name).write_bytes(damaged[: chance.choice([len(damaged)] * 9 + [chance.randrange(len(damaged))])])
        try:
            array = read_array(Path(name), "clip.x")
        except UserError as error:
            assert name in str(error)
            assert "\n" not in str(error)
        else:
            assert np.isfinite(array).all()
            assert array.size <= 2 * ARRAY.size
