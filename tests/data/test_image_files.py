import os
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from close_transfer.core.errors import UserError
from close_transfer.data.image_files import explain_unreadable, find_images, open_image, read_image
from close_transfer.inference.model_inputs import open_given_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def opened(path):
    picture = open_image(Path(path))
    assert picture.mode == "RGB"
    return picture


def halves(mode="RGB", size=(40, 20)):
    """Left half red, right half blue."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def near(pixel, colour):
    return max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 12


@pytest.mark.parametrize(("mode", "name"), [
    ("RGB", "a.png"), ("RGB", "a.jpg"), ("RGB", "a.webp"), ("RGB", "a.bmp"), ("RGB", "a.tiff"), ("P", "a.png"),
    ("P", "a.gif"), ("CMYK", "a.jpg"), ("CMYK", "a.tiff"), ("YCbCr", "a.jpg"), ("RGBA", "a.png"), ("RGBA", "a.webp"),
])  # fmt: skip
def test_colours_survive_every_mode(mode, name):
    halves(mode).save(name, quality=95)
    picture = opened(name)
    assert picture.size == (40, 20)
    assert near(picture.getpixel((5, 10)), RED)
    assert near(picture.getpixel((35, 10)), BLUE)


# What a viewer must do to show the image upright, by the EXIF standard's table of orientations.
@pytest.mark.parametrize(("orientation", "size", "corner"), [
    (1, (40, 20), RED), (2, (40, 20), BLUE), (3, (40, 20), BLUE), (4, (40, 20), RED),
    (5, (20, 40), RED), (6, (20, 40), RED), (7, (20, 40), BLUE), (8, (20, 40), BLUE),
])  # fmt: skip
def test_images_are_turned_upright(orientation, size, corner):
    exif = Image.Exif()
    exif[0x0112] = orientation
    halves().save("a.jpg", exif=exif, quality=95)
    picture = opened("a.jpg")
    assert picture.size == size
    assert near(picture.getpixel((2, 2)), corner)


def test_damaged_exif_data_do_not_hide_the_image():
    halves().save("a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12garbage")
    assert near(opened("a.jpg").getpixel((5, 10)), RED)


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_are_scaled_and_not_clipped(name):
    values = np.array([[0, 257, 32_896, 65_535]], dtype=np.uint16)
    Image.fromarray(values).save(name)
    assert [opened(name).getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


def write_eps(path):
    Path(path).write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n0 0 10 10 rectfill\nshowpage\n"
    )


@pytest.fixture
def ghostscript(monkeypatch, tmp_path):
    """Return the file that a stand-in for Ghostscript writes when it is started."""
    from PIL import EpsImagePlugin

    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {started}\nexit 1\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow searches for it once per process
    return started


def test_no_image_starts_another_program(ghostscript, tmp_path):
    write_eps("photo.png")
    with pytest.raises(UserError, match="not an image in one of the formats AVIF, BMP"):
        open_image(Path("photo.png"))
    with pytest.raises(UserError, match="not an image"):
        read_image(Path("photo.png").read_bytes(), "it")
    with Image.open("photo.png") as image, pytest.raises(UserError, match="it is EPS, which needs another program"):
        open_given_image(image)  # opened by a caller, but not decoded yet
    write_eps(tmp_path / "photo.eps")
    with pytest.raises(UserError, match="no image in this folder"):
        find_images(tmp_path)
    assert not ghostscript.exists()
    with Image.open("photo.png") as image, pytest.raises(Exception):  # noqa: B017  of any kind
        image.load()
    assert ghostscript.exists()  # the stand-in works


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_names_the_package_that_reads_it(brand, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    content = struct.pack(">I", 24) + b"ftyp" + brand + bytes(12)
    (tmp_path / "photo.HEIC").write_bytes(content)
    ((_, path),) = find_images(tmp_path).files
    for read in (lambda: open_image(path), lambda: read_image(content, "it")):
        with pytest.raises(
            UserError, match=r"it is HEIC, which needs pillow-heif\. Install it by pip install pillow-heif"
        ):
            read()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(mode):
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 10, 20))
    if mode == "P":
        image = Image.new("P", (20, 20), 1)
        image.putpalette([0, 0, 0, 9, 9, 9])
        image.paste(0, (0, 0, 10, 20))
        image.save("a.png", transparency=1)
    else:
        image.convert(mode).save("a.png")
    picture = opened("a.png")
    assert picture.getpixel((5, 10)) == (0, 0, 0)
    assert picture.getpixel((15, 10)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tiff"])
def test_the_first_of_several_frames(name):
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, BLUE)]
    frames[0].save(name, save_all=True, append_images=frames[1:])
    with Image.open(name) as image:
        assert image.n_frames == 2
    assert near(opened(name).getpixel((5, 5)), RED)


def bomb(side):
    """A PNG of a few hundred bytes that says it is `side` pixels wide and high."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def unreadable(name):
    if name == "truncated.jpg":
        halves(size=(400, 400)).save(name)
        Path(name).write_bytes(Path(name).read_bytes()[:900])
    elif name == "folder.png":
        Path(name).mkdir()
    elif name == "pipe.png":
        os.mkfifo(name)
    elif name == "loop.png":
        Path(name).symlink_to(name)
    elif name == "dangling.png":
        Path(name).symlink_to("nowhere")
    elif name == "long.png":
        Image.new("L", (3000, 2)).save(name)
    elif name != "missing.png":
        Path(name).write_bytes(
            {"empty.jpg": b"", "text.jpg": b"hello", "bomb.png": bomb(60_000), "big.png": bomb(10_000)}[name]
        )


@pytest.mark.parametrize(("name", "reason"), [
    ("truncated.jpg", "truncated"), ("empty.jpg", "not an image"), ("text.jpg", "not an image"),
    ("bomb.png", "more than 89 megapixels"), ("big.png", "more than 89 megapixels"), ("folder.png", "not a file"),
    ("pipe.png", "not a file"), ("loop.png", "symbolic links"), ("dangling.png", "No such file"),
    ("missing.png", "No such file"), ("long.png", "3000 x 2 pixels: too long"),
])  # fmt: skip
def test_what_cannot_be_used_names_file_and_reason(name, reason):
    unreadable(name)
    with pytest.raises(UserError, match=reason) as caught:
        open_image(Path(name))
    assert str(caught.value).startswith(f"{name}: cannot be read as an image (")
    assert reason in explain_unreadable(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_images_are_never_more_than_a_sentence(seed):
    rng = np.random.default_rng(seed)
    suffix, mode = [("png", "P"), ("jpg", "CMYK"), ("gif", "P"), ("webp", "RGBA"), ("tiff", "RGB"), ("bmp", "RGB")][
        seed % 6
    ]
    halves(mode, (64, 48)).save(f"a.{suffix}")
    content = bytearray(Path(f"a.{suffix}").read_bytes())
    for position in rng.integers(0, len(content), rng.integers(1, 30)):
        content[position] = rng.integers(256)
    content = bytes(content[: rng.integers(1, len(content) + 1)]) if seed % 2 else bytes(content)
    try:
        assert read_image(content, "it").mode == "RGB"
    except UserError as error:
        assert str(error).startswith("it: cannot be read")


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    halves().save(path, "PNG")
    return path


def test_a_folder_is_searched_to_the_bottom_once_and_in_order(tmp_path):
    for name in ("b/2.PNG", "b/1.jpg", "a.png", "b.png", "b/c/d/e.webp"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "b" / "back").symlink_to(tmp_path)
    (tmp_path / "b" / "self.png").symlink_to("self.png")
    outside = save(tmp_path.parent / f"{tmp_path.name}-outside" / "x.png").parent
    (tmp_path / "linked").symlink_to(outside)
    found = find_images(tmp_path)
    assert [name for name, _ in found.files] == [
        "a.png", "b/1.jpg", "b/2.PNG", "b/c/d/e.webp", "b/self.png", "b.png", "linked/x.png",
    ]  # fmt: skip
    assert found.num_other == 1
    assert found.faults == []


def test_names_of_any_bytes_give_ids_that_can_be_written(tmp_path):
    names = [b"caf\xe9.png", b"caf\\xe9.png", "café.png".encode(), b"two\nlines.png", b"caf\\xe9.png_"[:11]]
    for name in set(names):
        save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    ids = [name for name, _ in find_images(tmp_path).files]
    assert len(set(ids)) == len(ids) == len(set(names))
    assert {"café.png", "two\nlines.png", r"caf\xe9.png"} <= set(ids)
    for one, path in find_images(tmp_path).files:
        one.encode("utf-8")
        assert open_image(path).size == (40, 20)


def test_folders_that_cannot_be_listed_are_reported(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    save(tmp_path / "secret" / "b.png")
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = find_images(tmp_path)
    assert [name for name, _ in found.files] == ["a.png"]
    assert found.faults == [("secret", "Permission denied")]


def test_nothing_to_find(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match="no image in this folder"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="there is no such file or folder"):
        find_images(tmp_path / "nowhere")


def test_threads_ignore_warnings_and_refuse_bombs_together(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("L", (40, 30)).save("bomb.png")  # less than twice the limit, of which Pillow only warns
    Image.new("L", (20, 30)).save("fine.png")

    def find_reason(name):
        try:
            open_image(Path(name))
        except UserError as error:
            return explain_unreadable(error)[:9]
        return ""

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as executor:
            reasons = list(executor.map(find_reason, ["bomb.png", "fine.png"] * 100))
        assert warnings.filters == before
    assert reasons == ["more than", ""] * 100
