"""Malformed files by seed: 56 cases of each kind, the same on every machine.

A fault is either chosen (from the lists below) or drawn (flipped bits, a missing end).
"""

import gzip
import io
import json
import pickle
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

NUM_CASES = 56  # of each kind
NUM_ROWS = 12

DEEP = 100_000
DIGITS = "9" * 5000


def caption(number):
    return f"Caption {number}, a dog in the snow"


def flip(content, rng):
    """Flip one to eight bits."""
    result = bytearray(content)
    for place in rng.integers(0, len(result), size=rng.integers(1, 9)):
        result[place] ^= 1 << int(rng.integers(8))
    return bytes(result)


def cut(content, rng):
    return content[: int(rng.integers(0, len(content)))]


def cases(kind: str, whole: bytes, chosen: dict[str, bytes]) -> dict[str, bytes]:
    """Return all cases of a kind by name: the chosen ones, then flips and cuts of the whole file."""
    result = dict(chosen)
    number = 0
    while len(result) < NUM_CASES:
        rng = np.random.default_rng([number, *kind.encode()])
        name, damage = (("flipped", flip), ("flipped", flip), ("cut", cut))[number % 3]
        result[f"{name}-{number}"] = damage(whole, rng)
        number += 1
    assert len(result) == NUM_CASES, f"{kind}: {len(result)} cases"
    return result


def encodings(text: str) -> dict[str, bytes]:
    """Return a good text by encoding: ones that are not UTF-8, and unusual ones that are."""
    content = text.encode()
    return {
        "utf-16": text.encode("utf-16"),
        "utf-16-without-mark": text.encode("utf-16-le"),
        "utf-32": text.encode("utf-32-be"),
        "byte-order-mark": b"\xef\xbb\xbf" + content,
        "windows-lines": content.replace(b"\n", b"\r\n"),
        "old-mac-lines": content.replace(b"\n", b"\r"),
        "nothing": b"",
        "blank-lines": b"\n\n\n",
        "zeros": bytes(2000),
        "noise": np.random.default_rng(1).bytes(2000),
        "zip": b"PK\x03\x04" + content,
        "packed-without-saying": gzip.compress(content, mtime=0),
        "no-last-line-end": content.rstrip(b"\n"),
    }


JSON_VALUES = {
    "number": "5", "null": "null", "true": "true", "list-of-none": "[]", "object": '{"a": 1}', "mixed-list": '["a", 5]',
    "infinity": "1e999", "nan": "NaN", "minus-infinity": "-Infinity", "digits": DIGITS, "empty": '""', "spaces": '"  "',
    "half-character": '"a \\ud800 b"', "nul": '"a \\u0000 b"', "deep-list": "[" * 800 + "]" * 800,
    "deeper": "[" * DEEP + "]" * DEEP, "open-brackets": "[" * DEEP, "open-text": '"never closed', "line-break": '"two\\nlines"',
}  # fmt: skip
JSON_LINES = {
    "list": b"[1, 2]", "text": b'"caption"', "other-field": b'{"caption": "A dog."}', "no-json": b"A dog.",
    "twice": b'{"text": "one", "text": "two"}', "single-quotes": b"{'text': 'A dog.'}", "after": b'{"text": "A dog."} x',
    "latin-1": '{"text": "Ein s\xfc\xdfer Hund"}'.encode("latin-1"), "raw-nul": b'{"text": "a \0 b"}',
    "overlong": b'{"text": "a \xc0\xaf b"}', "long": b'{"text": "' + b"x" * (17 * 2**20) + b'"}',
}  # fmt: skip


def _with_line(lines: list[bytes], place: int, line: bytes) -> bytes:
    return b"\n".join([*lines[:place], line, *lines[place:]]) + b"\n"


def json_lines_cases() -> dict[str, bytes]:
    lines = [json.dumps({"text": caption(n), "n": n}).encode() for n in range(NUM_ROWS)]
    text = b"\n".join(lines).decode() + "\n"
    bad = {name: b'{"text": %s}' % value.encode() for name, value in JSON_VALUES.items()} | JSON_LINES
    chosen = {name: _with_line(lines, number % NUM_ROWS, line) for number, (name, line) in enumerate(bad.items())}
    return cases("jsonl", text.encode(), chosen | encodings(text))


CELLS = {
    "more-cells": "1{d}A dog{d}a cat", "fewer-cells": "1", "empty": "1{d}", "spaces": "1{d}   ", "blank": "",
    "quote-inside": '1{d}A "big" dog', "quote-closed-early": '1{d}"A "big" dog"', "quote-left-open": '1{d}"A dog',
    "quoted-break": '1{d}"A dog\nin the snow"', "carriage": "1{d}A dog\rin the snow", "nul": "1{d}A \0 dog", "wide": "1{d}" + "x" * 200_000,
    "long": "1{d}" + "x" * (17 * 2**20), "many": "{d}" * 5000, "tab-and-comma": "1\t,2",
}  # fmt: skip
HEADERS = {
    "no-header": None, "other-header": "n{d}caption", "header-twice": "text{d}text", "header-empty": "", "header-quote": '"n{d}text',
    "header-long": "n{d}text" + "{d}x" * 3000, "header-spaces": " n {d} text ",
}  # fmt: skip


def cells_cases(delimiter: str) -> dict[str, bytes]:
    rows = [f'{n}{delimiter}"{caption(n)}"'.encode() for n in range(NUM_ROWS)]
    header = f"n{delimiter}text".encode()
    text = b"\n".join([header, *rows]).decode() + "\n"
    chosen = {}
    for number, (name, row) in enumerate(CELLS.items()):
        chosen[name] = _with_line([header, *rows], 1 + number % NUM_ROWS, row.replace("{d}", delimiter).encode())
    for name, line in HEADERS.items():
        head = [] if line is None else [line.replace("{d}", delimiter).encode()]
        chosen[name] = b"\n".join([*head, *rows]) + b"\n"
    chosen["latin-1"] = _with_line([header, *rows], 3, f"1{delimiter}Ein s\xfc\xdfer Hund".encode("latin-1"))
    return cases("tsv" if delimiter == "\t" else "csv", text.encode(), chosen | encodings(text))


def packed_cases() -> dict[str, bytes]:
    """Return the cases of JSON lines packed by gzip."""
    rows = [json.dumps({"text": caption(n)}).encode() for n in range(NUM_ROWS)]
    text = b"\n".join(rows) + b"\n"
    packed = gzip.compress(text, mtime=0)
    wrong_sum = bytearray(packed)
    wrong_sum[-6] ^= 1
    wrong_length = bytearray(packed)
    wrong_length[-1] ^= 1
    chosen = {
        "nothing": b"", "not-packed": text, "only-header": packed[:10], "sign-only": packed[:2], "garbage-after": packed + b"garbage",
        "zeros-after": packed + bytes(100), "two-parts": packed + gzip.compress(b'{"text": "more"}\n', mtime=0),
        "second-part-cut": packed + packed[:20], "second-part-noise": packed + packed[:10] + b"\xff" * 40,
        "wrong-sum": bytes(wrong_sum), "wrong-length": bytes(wrong_length), "twice-packed": gzip.compress(packed, mtime=0),
        "zlib": zlib.compress(text), "zip": b"PK\x03\x04" + packed, "unknown-method": packed[:2] + b"\x07" + packed[3:],
        "all-flags": packed[:3] + b"\xff" + packed[4:], "packed-nothing": gzip.compress(b"", mtime=0), "packed-zeros": gzip.compress(bytes(5000), mtime=0),
        "packed-utf-16": gzip.compress(text.decode().encode("utf-16"), mtime=0), "packed-noise": gzip.compress(np.random.default_rng(2).bytes(999), mtime=0),
        "packed-half-line": gzip.compress(text[:-9], mtime=0), "bad-line-inside": gzip.compress(rows[0] + b'\n{"text": 5}\n', mtime=0),
    }  # fmt: skip
    return cases("gz", packed, chosen)


def _npy(header: str, data: bytes = bytes(192), version=(1, 0)) -> bytes:
    """Return a .npy file with this header, without checks."""
    padded = (header + " " * (63 - (10 + len(header)) % 64) + "\n").encode("latin-1")
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] < 2 else "<I", len(padded)) + padded + data


def _saved(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


class _Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def npy_cases() -> dict[str, bytes]:
    good = np.arange(48, dtype=np.float32).reshape(6, 8) / 48
    whole = _saved(good)
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"
    nan, infinite, wide = good.copy(), good.copy(), good.astype(np.float64)
    nan[3, 2], infinite[0, 0], wide[5, 5] = np.nan, -np.inf, 1e300
    archive = io.BytesIO()
    np.savez(archive, a=good)
    chosen = {
        "nothing": b"", "sign-only": whole[:6], "no-header": whole[:10], "text": b"0.1 0.2\n" * 9, "archive": archive.getvalue(),
        "pickle": pickle.dumps(_Evil()), "objects": _saved(np.array([[_Evil()]], dtype=object), allow_pickle=True),
        "object-header": _npy(head.replace("<f4", "|O") % "(6, 8)"), "nan": _saved(nan), "infinity": _saved(infinite), "too-big-for-32-bits": _saved(wide),
        "integers": _saved(good.astype(np.int64)), "truth": _saved(good > 0), "complex": _saved(good.astype(complex)),
        "words": _saved(np.array([["a", "b"]])), "records": _saved(np.zeros((6, 8), dtype=[("x", "f4")])), "dates": _saved(np.zeros((6, 8), "M8[s]")),
        "number": _saved(np.float32(1)), "one-axis": _saved(good[0]), "four-axes": _saved(good.reshape(1, 2, 3, 8)), "no-rows": _saved(good[:0]),
        "no-width": _saved(good[:, :0]), "two-arrays": whole + whole, "bytes-after": whole + b"x",
        "huge": _npy(head % "(1000000000000, 8)"), "overflow": _npy(head % "(4611686018427387904, 4611686018427387904)"), "digits": _npy(head % f"({DIGITS}, 8)"),
        "negative": _npy(head % "(-6, 8)"), "shape-of-text": _npy(head % "('6', '8')"), "no-shape": _npy("{'descr': '<f4', 'fortran_order': False}"),
        "more-keys": _npy(head.replace("{", "{'x': 1, ") % "(6, 8)"), "deep": _npy("(" * 5000), "call": _npy("exec('raise SystemExit')"), "open": _npy("{'descr': '<f4"),
        "deep-shape": _npy(head % ("(" * 300)), "no-type": _npy(head.replace("'<f4'", "'nope'") % "(6, 8)"), "type-list": _npy(head.replace("'<f4'", "[('a',)]") % "(6, 8)"),
        "long-header": _npy(head % "(6, 8)" + " " * 20_000, version=(1, 0)), "version": whole[:6] + b"\x09\x09" + whole[8:], "long-count": whole[:8] + b"\xff\xff" + whole[10:],
        "fortran": _saved(np.asfortranarray(good)), "big-endian": _saved(good.astype(">f4")), "half": _saved(good.astype(np.float16)),
    }  # fmt: skip
    return cases("npy", whole, chosen)


def _tensors(header, data: bytes = bytes(192), length: int | None = None) -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


def safetensors_cases() -> dict[str, bytes]:
    def entry(dtype="F32", shape=(6, 8), offsets=(0, 192)):
        return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}

    values = np.arange(48, dtype=np.float32) / 48
    good = _tensors({"a": entry()}, values.tobytes())
    nan = values.copy()
    nan[20] = np.nan
    chosen = {
        "nothing": b"", "length-only": good[:8], "huge-length": _tensors({"a": entry()}, length=2**63), "all-ones": _tensors({"a": entry()}, length=2**64 - 1),
        "gigabytes": _tensors({"a": entry()}, length=10**9), "short-length": _tensors({"a": entry()}, length=5), "no-length": _tensors({"a": entry()}, length=0),
        "no-json": _tensors(b"nonsense" * 9), "list": _tensors([1]), "null": _tensors(b"null"), "no-tensor": _tensors({}, b""), "deep": _tensors(b"[" * DEEP),
        "deep-object": _tensors(b'{"a":' * 5000), "utf-16": _tensors('{"a": 1}'.encode("utf-16")), "two": _tensors({"a": entry(offsets=(0, 192)), "b": entry(offsets=(192, 384))}, bytes(384)),
        "overlap": _tensors({"a": entry(), "b": entry()}), "gap": _tensors({"a": entry(offsets=(8, 200))}, bytes(200)), "beyond": _tensors({"a": entry(offsets=(0, 9999))}),
        "backwards": _tensors({"a": entry(offsets=(192, 0))}), "negative": _tensors({"a": entry(shape=(-6, 8))}), "negative-offset": _tensors({"a": entry(offsets=(-192, 0))}),
        "overflow": _tensors({"a": entry(shape=(2**62, 2**62))}), "digits": _tensors(b'{"a": {"dtype": "F32", "shape": [%s], "data_offsets": [0, 192]}}' % DIGITS.encode()),
        "fraction": _tensors({"a": entry(shape=(6.5, 8))}), "no-dtype": _tensors({"a": {"shape": [6, 8], "data_offsets": [0, 192]}}), "unknown-dtype": _tensors({"a": entry("F33")}),
        "bf16": _tensors({"a": entry("BF16", (12, 8))}), "f8": _tensors({"a": entry("F8_E4M3", (24, 8))}), "integers": _tensors({"a": entry("I32")}), "truth": _tensors({"a": entry("BOOL", (24, 8))}),
        "one-axis": _tensors({"a": entry(shape=(48,))}), "no-rows": _tensors({"a": entry(shape=(0, 8), offsets=(0, 0))}, b""), "nan": _tensors({"a": entry()}, nan.tobytes()),
        "wide": _tensors({"a": entry("F64", (3, 8))}, np.full(24, 1e300).tobytes()), "metadata": _tensors({"__metadata__": {"a": 5}, "a": entry()}),
        "twice": _tensors(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2)), "bytes-after": good + b"x", "pickle": pickle.dumps(_Evil()), "zip": b"PK\x03\x04" + good,
    }  # fmt: skip
    return cases("safetensors", good, chosen)


def _png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunk(*kind_and_data) for kind_and_data in chunks)
        + chunk(b"IEND", b"")
    )


def _image(kind: str, mode="RGB", **options) -> bytes:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
    image = (
        Image.fromarray(values).convert(mode)
        if mode != "F"
        else Image.fromarray(rng.random((24, 32), dtype=np.float32))
    )
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def image_cases() -> dict[str, bytes]:
    floats = Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32))
    buffer = io.BytesIO()
    floats.save(buffer, "TIFF")
    row = zlib.compress(bytes(3 * 100_000 + 1))
    exif = Image.Exif()
    exif[0x0112] = 99
    chosen = {
        "nothing": b"", "text": b"no image", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "html": b"<html>404</html>", "zeros": bytes(999),
        "claims-100000": _png(100_000, 100_000, (b"IDAT", row)), "claims-16000": _png(16_000, 16_000, (b"IDAT", row)), "no-width": _png(0, 5, (b"IDAT", row)),
        "largest": _png(2**31 - 1, 2**31 - 1), "long": _png(100_000, 1, (b"IDAT", row)), "no-data": _png(8, 8), "text-bomb": _png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(80 * 2**20))), (b"IDAT", row)),
        "wrong-data": _png(8, 8, (b"IDAT", b"nonsense")), "nan": buffer.getvalue(), "exif": _image("JPEG", exif=exif), "exif-noise": _image("JPEG", exif=b"Exif\0\0" + b"\xff" * 99),
        "jpeg-sign": b"\xff\xd8\xff\xe0", "gif-sign": b"GIF89a", "tiff-sign": b"II*\0\x08\0\0\0", "tiff-loop": b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "pdf": b"%PDF-1.4\n",
        "garbage-after": _image("PNG") + b"x" * 99, "riff": b"RIFF\xff\xff\xff\xffWEBPVP8 ", "ppm-huge": b"P6 99999 99999 255\n", "bmp-negative": b"BM" + struct.pack("<IHHIIiiHH", 99, 0, 0, 54, 40, -5, 5, 1, 24) + bytes(24),
    }  # fmt: skip
    for number, (kind, mode) in enumerate(
        [("PNG", "RGBA"), ("JPEG", "CMYK"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "F"), ("WEBP", "RGB"), ("PPM", "L"), ("ICO", "RGBA")]
    ):  # fmt: skip
        whole, rng = _image(kind, mode), np.random.default_rng([number, 4])
        chosen |= {
            f"{kind}-cut": cut(whole, rng),
            f"{kind}-flipped": flip(whole, rng),
            f"{kind}-head-flipped": flip(whole[:40], rng) + whole[40:],
        }
    return cases("image", _image("PNG"), chosen)


FILES: dict[str, Callable[[], dict[str, bytes]]] = {
    "bad.jsonl": json_lines_cases,
    "bad.csv": lambda: cells_cases(","),
    "bad.tsv": lambda: cells_cases("\t"),
    "bad.jsonl.gz": packed_cases,
    "bad.npy": npy_cases,
    "bad.safetensors": safetensors_cases,
    "bad.png": image_cases,
}
