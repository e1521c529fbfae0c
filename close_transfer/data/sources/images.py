"""Undrawn images: files that are opened when a vector of them is needed, and not before."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from close_transfer.core.atomic_files import fingerprint_file
from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import is_file
from close_transfer.core.schema import OnBadRows
from close_transfer.data.examples import Example, ImageRef
from close_transfer.data.image_files import open_image


@dataclass(frozen=True)
class StoredImage(ImageRef):
    """An image that should be kept somewhere.

    Attributes:
        missing: why it cannot be opened; empty if it is there. It is not opened for that.
    """

    missing: Callable[[], str] = str


def describe_missing_image(path: Path) -> str:
    """Return the words that say that a file of an image is missing."""
    return f"{path}: there is no such image"


def _explain_missing_file(path: Path) -> str:
    return "" if is_file(path) else describe_missing_image(path)


def _fingerprint_existing(path: Path) -> str:
    if reason := _explain_missing_file(path):
        raise UserError(f"{reason}; put the dataset's images there, or name their folder (docs/data.md)")
    return fingerprint_file(path)


def make_file_ref(path: Path, key: str, row: int | None = None) -> ImageRef:
    """An image in a file; a missing or damaged one is a `UserError` when it is opened."""
    return StoredImage(
        key, partial(open_image, path), partial(_fingerprint_existing, path), row, partial(_explain_missing_file, path)
    )


def make_unavailable_ref(key: str, reason: str, row: int | None = None) -> ImageRef:
    """What stands where there is a row of vectors but no image; opening it is a `UserError`."""

    def refuse() -> NoReturn:
        raise UserError(reason)

    return ImageRef(key, refuse, refuse, row)


def explain_missing(image: ImageRef) -> str:
    """Why there is no such image, without opening it; empty if it is there, or is drawn."""
    return image.missing() if isinstance(image, StoredImage) else ""


def keep_with_images(
    examples: Sequence[Example], split: str, on_missing_image: OnBadRows
) -> tuple[list[Example], Counter[str]]:
    """The examples whose images are there, and how many were left out.

    Examples that name no image stay; so do those whose image is damaged, as none is opened.

    Raises:
        UserError: with the counts, if images are missing and are not to be skipped, or all are.
    """
    named = {example.image.key: example.image for example in examples if example.image is not None}
    reasons = {key: reason for key, image in named.items() if (reason := explain_missing(image))}
    if not reasons:
        return list(examples), Counter()
    problem = (
        f"{len(reasons):,} of {len(named):,} images of {split} are missing, the first is {next(iter(reasons.values()))}"
    )
    if len(reasons) == len(named):
        raise UserError(f"{problem}; put the dataset's images there, or name their folder (docs/data.md)")
    if on_missing_image == "error":
        raise UserError(
            f"{problem}; put them there, or leave out and count what needs them with data.on_missing_image=skip"
        )
    usable = [example for example in examples if example.image is None or example.image.key not in reasons]
    return usable, Counter({"examples whose image is missing": len(examples) - len(usable)})
