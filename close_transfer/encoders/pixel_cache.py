"""Images decoded and scaled once, as 8-bit pixels in one file that is read by memory map.

The file's name is a fingerprint of the images' content and of the preprocessing, so a file that exists is current. It is
written under a temporary name and renamed, then its checksum is written next to it. A file without its checksum, or with another
one, is written again.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap, write_array_header_2_0
from numpy.typing import NDArray
from tqdm import tqdm

from close_transfer.core.atomic_files import (
    atomic_path,
    fingerprint,
    fingerprint_file,
    report_write_errors,
    write_text,
)
from close_transfer.data.examples import ImageRef
from close_transfer.data.image_files import OPENING
from close_transfer.encoders.background import map_ahead
from close_transfer.encoders.captioner_encoder import PREPROCESSING, scale_to_pixels

_logger = logging.getLogger(__name__)

_NUM_THREADS = 4  # decoders release Python's lock, and more threads would only wait for the disk


def load_pixels(images: Sequence[ImageRef], size: int, folder: Path) -> NDArray[np.uint8]:
    """Return the pixels of images, shape (images, size, size, 3), from the cache or, if they are not there, from their files.

    Args:
        images: images, in the order of the rows.
        size: pixels per side.
        folder: folder of the cache.

    Raises:
        UserError: if an image cannot be read.
        WriteError: if the cache cannot be written.
    """
    key = fingerprint([OPENING, PREPROCESSING, str(size), *(image.digest() for image in images)])
    path = folder / f"{key}.npy"
    shape = (len(images), size, size, 3)
    checksum = path.with_suffix(".sha256")
    if not _is_intact(path, checksum):
        if path.is_file():
            _logger.warning("note: %s is incomplete or damaged; reading %s images again", path, f"{len(images):,}")
        with report_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                _write(images, size, temporary, shape)
            write_text(checksum, fingerprint_file(path))
    return open_memmap(path, "r")


def _is_intact(path: Path, checksum: Path) -> bool:
    """Return True if the file is the one that was written."""
    if not path.is_file() or not checksum.is_file():
        return False
    return checksum.read_bytes() == fingerprint_file(path).encode()


def _write(images: Sequence[ImageRef], size: int, path: Path, shape: tuple[int, ...]) -> None:
    scaled = map_ahead(lambda image: scale_to_pixels(image.open(), size), images, _NUM_THREADS)
    # Not by memory map: on a full disk, the system would kill the process.
    with path.open("wb") as file:
        write_array_header_2_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for image in tqdm(scaled, total=len(images), desc="reading images", unit="image"):
            file.write(image.tobytes())
