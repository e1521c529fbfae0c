"""Images decoded and scaled once, as 8-bit pixels in one file that is read by memory map.

The file's name is a fingerprint of the images' content and of the preprocessing, so a file that exists is complete and
current. It is written under a temporary name and renamed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap, write_array_header_2_0
from numpy.typing import NDArray
from tqdm import tqdm

from close_transfer.core.atomic_files import atomic_path, damaged_file_error, fingerprint, report_write_errors
from close_transfer.data.examples import ImageRef
from close_transfer.data.image_files import OPENING
from close_transfer.encoders.background import map_ahead
from close_transfer.encoders.captioner_encoder import PREPROCESSING, scale_to_pixels

_NUM_THREADS = 4  # decoders release Python's lock, and more threads would only wait for the disk


def load_pixels(images: Sequence[ImageRef], size: int, folder: Path) -> NDArray[np.uint8]:
    """Return the pixels of images, shape (images, size, size, 3), from the cache or, if they are not there, from their files.

    Args:
        images: images, in the order of the rows.
        size: pixels per side.
        folder: folder of the cache.

    Raises:
        UserError: if an image cannot be read, or the cache's file is damaged.
        WriteError: if the cache cannot be written.
    """
    key = fingerprint([OPENING, PREPROCESSING, str(size), *(image.digest() for image in images)])
    path = folder / f"{key}.npy"
    shape = (len(images), size, size, 3)
    if not path.is_file():
        with report_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                _write(images, size, temporary, shape)
    try:
        pixels = open_memmap(path, "r")
    except (ValueError, OSError) as error:
        raise damaged_file_error(path, str(error)) from error
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise damaged_file_error(path, f"it holds {pixels.dtype} of shape {pixels.shape}")
    return pixels


def _write(images: Sequence[ImageRef], size: int, path: Path, shape: tuple[int, ...]) -> None:
    scaled = map_ahead(lambda image: scale_to_pixels(image.open(), size), images, _NUM_THREADS)
    # Not by memory map: on a full disk, the system would kill the process.
    with path.open("wb") as file:
        write_array_header_2_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for image in tqdm(scaled, total=len(images), desc="reading images", unit="image"):
            file.write(image.tobytes())
