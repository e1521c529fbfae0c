"""The cache of decoded images."""

import errno

import numpy as np
import pytest
from PIL import Image

from close_transfer.core.atomic_files import WriteError
from close_transfer.core.errors import UserError
from close_transfer.data.examples import ImageRef
from close_transfer.encoders import pixel_cache
from close_transfer.encoders.pixel_cache import load_pixels


def make_refs(opened, contents="abc"):
    def make(content):
        def open_image():
            opened.append(content)
            return Image.new("RGB", (6, 5), (ord(content), 0, 0))

        return ImageRef(content, open_image, lambda: f"digest of {content}")

    return [make(content) for content in contents]


def test_each_image_is_opened_once(tmp_path):
    opened = []
    first = load_pixels(make_refs(opened), 4, tmp_path)
    assert first.shape == (3, 4, 4, 3) and first.dtype == np.uint8
    assert first[:, 0, 0, 0].tolist() == [ord(letter) for letter in "abc"]
    assert np.array_equal(load_pixels(make_refs(opened), 4, tmp_path), first)
    assert sorted(opened) == ["a", "b", "c"]


def test_another_size_or_image_is_read_again(tmp_path):
    opened = []
    load_pixels(make_refs(opened, "a"), 4, tmp_path)
    load_pixels(make_refs(opened, "a"), 2, tmp_path)
    load_pixels(make_refs(opened, "b"), 4, tmp_path)
    assert opened == ["a", "a", "b"]


def test_an_unreadable_image_leaves_no_file(tmp_path):
    def fail():
        raise UserError("b.png: cannot be read. Give another file")

    images = [*make_refs([], "a"), ImageRef("b", fail, lambda: "b")]
    with pytest.raises(UserError, match=r"b\.png"):
        load_pixels(images, 4, tmp_path)
    assert not list(tmp_path.iterdir())


def flip_last_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_last_byte,
        lambda path: path.write_bytes(b"damaged"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: np.save(path, np.array([{}], dtype=object), allow_pickle=True),
        lambda path: path.with_suffix(".sha256").unlink(),
        lambda path: path.with_suffix(".sha256").write_bytes(b"\xff"),
    ],
)
def test_a_damaged_file_is_written_again_with_a_note(tmp_path, caplog, damage):
    opened = []
    first = np.array(load_pixels(make_refs(opened), 4, tmp_path))
    (path,) = tmp_path.glob("*.npy")
    damage(path)
    assert np.array_equal(load_pixels(make_refs(opened), 4, tmp_path), first)
    assert sorted(opened) == ["a", "a", "b", "b", "c", "c"]
    assert "incomplete or damaged; reading 3 images again" in caplog.text


def test_a_full_disk_is_an_error_because_nothing_is_written_by_memory_map(tmp_path, monkeypatch):
    # A write to a mapped file that the disk has no room for ends the process by a signal.
    modes = []

    def open_only(path, mode, *args):
        modes.append(mode)
        return np.load(path, mmap_mode=mode)

    monkeypatch.setattr(pixel_cache, "open_memmap", open_only)
    load_pixels(make_refs([]), 4, tmp_path / "a")
    assert modes == ["r"]

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixel_cache, "write_array_header_2_0", fail)
    with pytest.raises(WriteError):
        load_pixels(make_refs([]), 4, tmp_path / "b")
    assert not list((tmp_path / "b").iterdir())
