"""Packed files: what they unpack to, under any name."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.readers import open_file
from close_transfer.core.readers.packed_files import check_packed_file

SMALL = b"text\na dog\na cat\n"


def pack_by_arrow(content, codec):
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, codec) as packed:
        packed.write(content)
    return stream.getvalue().to_pybytes()


def pack_zip(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    return stream.getvalue()


def pack_tar(content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("a.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


PACKERS = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
    "zstd": lambda content: pack_by_arrow(content, "zstd"),
    "lz4": lambda content: pack_by_arrow(content, "lz4"),
    "zip": pack_zip,
    "gzip in zip": lambda content: pack_zip(gzip.compress(content)),
    "gzip in tar": lambda content: pack_tar(gzip.compress(content)),
    "tar in gzip": lambda content: gzip.compress(pack_tar(content)),
    "gzip in tar in gzip": lambda content: gzip.compress(pack_tar(gzip.compress(content))),
    "gzip in gzip": lambda content: gzip.compress(gzip.compress(content)),
}


@pytest.mark.parametrize("name", PACKERS)
def test_limit_of_unpacked_bytes(name, monkeypatch):
    monkeypatch.setattr(open_file, "_MIN_UNPACK_LIMIT", 2**20)
    Path("small.csv").write_bytes(PACKERS[name](SMALL))
    check_packed_file(Path("small.csv"))
    Path("large.csv").write_bytes(PACKERS[name](bytes(3 * 2**20)))
    with pytest.raises(UserError, match=r"large\.csv: unpacks to more than 100 times its size"):
        check_packed_file(Path("large.csv"))


def test_limit_of_a_sparse_file_in_a_tar():
    content = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
    member = tarfile.TarInfo("a.txt")
    member.size = len(content)
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10**12)}
    with tarfile.open("a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(content))
    with pytest.raises(UserError, match=r"a\.tar: unpacks to more than 100 times its size"):
        check_packed_file(Path("a.tar"))


@pytest.mark.parametrize("content", [b"", SMALL, b"BZh", b"PK\3\4", b"\x89PNG\r\n" + bytes(3000)])
def test_files_that_are_not_packed(content):
    Path("a.csv").write_bytes(content)
    try:
        check_packed_file(Path("a.csv"))
    except (OSError, EOFError):
        assert content == b"BZh"


@pytest.mark.parametrize(("content", "name"), [(b"Rar!\x1a\x07\x01\0", "RAR"), (b"7z\xbc\xaf\x27\x1c", "7z")])
def test_other_archives_are_refused(content, name):
    Path("a.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.csv: is packed as {name}, which is not read\. Unpack it"):
        check_packed_file(Path("a.csv"))


def test_too_many_layers():
    content = SMALL
    for _ in range(5):
        content = gzip.compress(content)
    Path("a.csv").write_bytes(content)
    with pytest.raises(ValueError, match="it is packed too many times"):
        check_packed_file(Path("a.csv"))
