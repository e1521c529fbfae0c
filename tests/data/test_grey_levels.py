import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from close_transfer.core.errors import UserError
from close_transfer.data.image_files import open_image

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1


def write_tiff(values, order, bits, kind, photometric=BLACK_IS_ZERO):
    """Write a grey image of one row, byte by byte as TIFF 6.0 describes it, because Pillow cannot write all of these."""
    if bits == 12:  # two pixels per three bytes
        data = b"".join(
            bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in zip(values[::2], values[1::2], strict=True)
        )
    else:
        letter = {UNSIGNED: {16: "H", 32: "I"}, SIGNED: {16: "h", 32: "i"}, FLOAT: {32: "f"}}[kind][bits]
        data = struct.pack(f"{order}{len(values)}{letter}", *values)
    entries = {
        256: len(values), 257: 1, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: 1, 279: len(data), 339: kind,
    }  # fmt: skip
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    content = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    for tag, value in entries.items():
        content += struct.pack(f"{order}HHII", tag, 4, 1, value)
    Path("a.tiff").write_bytes(content + struct.pack(f"{order}I", 0) + data)


def read_pixels(name="a.tiff"):
    image = open_image(Path(name))
    pixels = [image.getpixel((x, 0)) for x in range(image.width)]
    assert all(red == green == blue for red, green, blue in pixels)
    return [red for red, _, _ in pixels]


# The expected pixels were computed by hand: value * 255 / white, rounded.
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("bits", "kind", "values", "expected"), [
    (16, UNSIGNED, [0, 257, 32_896, 65_535], [0, 1, 128, 255]),
    (16, UNSIGNED, [0, 100, 200, 300], [0, 0, 1, 1]),
    (16, SIGNED, [0, 128, 16_384, 32_767], [0, 1, 128, 255]),
    (32, SIGNED, [0, 2**23, 2**30, 2**31 - 1], [0, 1, 128, 255]),
    (32, FLOAT, [0.0, 0.1, 0.5, 1.0], [0, 26, 128, 255]),
    (32, FLOAT, [0.0, 0.1, 0.2, 0.3], [0, 26, 51, 76]),
])  # fmt: skip
def test_grey_of_a_tiff_is_scaled_by_its_format_s_range(order, bits, kind, values, expected):
    write_tiff(values, order, bits, kind)
    assert read_pixels() == expected


def test_12_bits_and_unsigned_32_bits_have_their_own_white():
    write_tiff([0, 16, 2048, 4095], "<", 12, UNSIGNED)
    assert read_pixels() == [0, 1, 128, 255]
    write_tiff([0, 2**24, 2**31, 2**32 - 1], "<", 32, UNSIGNED)
    assert read_pixels() == [0, 1, 128, 255]


def test_white_may_be_zero():
    write_tiff([0, 257, 32_896, 65_535], "<", 16, UNSIGNED, WHITE_IS_ZERO)
    assert read_pixels() == [255, 254, 127, 0]
    write_tiff([0.0, 1.0], "<", 32, FLOAT, WHITE_IS_ZERO)
    assert read_pixels() == [255, 0]


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.jp2"])
def test_16_bits_of_other_formats(name):
    values = np.repeat(np.array([[0, 257, 32_896, 65_535]], dtype=np.uint16), 8, axis=0)
    Image.fromarray(values).save(name, **({"irreversible": False} if name == "a.jp2" else {}))
    assert read_pixels(name) == [0, 1, 128, 255]


@pytest.mark.parametrize(("bits", "kind", "values", "reason"), [
    (32, FLOAT, [0.0, 255.0], "its pixels are numbers from 0 to 255, but floats are read from 0"),
    (32, FLOAT, [-0.5, 1.0], "its pixels are numbers from -0.5 to 1, but floats are read from 0"),
    (32, FLOAT, [0.0, float("nan")], "NaN"),
    (16, SIGNED, [-32_768, 300], "its pixels are numbers from -32768 to 300"),
    (32, SIGNED, [0, 65_535], "its pixels are 32-bit integers up to 65535 only"),
    (32, UNSIGNED, [0, 255], "its pixels are 32-bit integers up to 255 only"),
])  # fmt: skip
def test_pixels_without_a_known_range_are_refused(bits, kind, values, reason):
    write_tiff(values, "<", bits, kind)
    with pytest.raises(UserError, match=reason) as caught:
        open_image(Path("a.tiff"))
    assert str(caught.value).startswith("a.tiff: cannot be read as an image (")


def test_a_black_image_of_32_bits_is_black():
    write_tiff([0, 0], "<", 32, SIGNED)
    assert read_pixels() == [0, 0]
