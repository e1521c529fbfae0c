"""Undrawn pictures: files that are opened when a vector of them is needed, and not before."""

from functools import partial
from pathlib import Path
from typing import NoReturn

from close_transfer.errors import UserError
from close_transfer.examples import ImageRef
from close_transfer.files import file_fingerprint
from close_transfer.pictures import open_picture
from close_transfer.sources.opening import is_file


def _digest(path: Path) -> str:
    if not is_file(path):
        raise UserError(
            f"{path}: there is no such picture; put the dataset's pictures there, or name their folder (docs/data.md)"
        )
    return file_fingerprint(path)


def image_file(path: Path, key: str, row: int | None = None) -> ImageRef:
    """A picture in a file; a missing or damaged one is a `UserError` when it is opened."""
    return ImageRef(key, partial(open_picture, path), partial(_digest, path), row)


def no_image(key: str, reason: str, row: int | None = None) -> ImageRef:
    """What stands where there is a row of vectors but no picture; opening it is a `UserError`."""

    def missing() -> NoReturn:
        raise UserError(reason)

    return ImageRef(key, missing, missing, row)
