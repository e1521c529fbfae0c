"""References to images in files, which are opened only when they are encoded."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image

from close_transfer.core.atomic_files import fingerprint_file
from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import is_file
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.schema import OnBadRows
from close_transfer.data.examples import Example, ImageRef
from close_transfer.data.image_files import open_image
from close_transfer.data.image_preparation import ImageOpener

_MAX_SHOWN = 60  # characters of a name that a message quotes
_RESTORE = "Put the dataset's images there, or name their folder (docs/data.md)"


@dataclass(frozen=True)
class StoredImage(ImageRef):
    """Image in a file or a table, which may be missing.

    Attributes:
        explain_missing: function that returns why the image is missing, without opening it; "" if it exists.
    """

    explain_missing: Callable[[], str] = str


@dataclass(frozen=True)
class TableImageOpener:
    """Function that opens an image of a table. Pickled for another process, it takes the image's bytes, not the table.

    Attributes:
        read: function that reads the bytes, and returns a function that opens them.
    """

    read: Callable[[], ImageOpener]

    def __call__(self) -> Image.Image:
        """Open the image."""
        return self.read()()

    def __reduce__(self) -> Any:
        """Read the bytes, and return what another process opens them with, or raises their error with."""
        try:
            opener = self.read()
        except UserError as error:
            opener = partial(_raise, error)
        return opener.__reduce__()


def _raise(error: UserError) -> NoReturn:
    raise error


def describe_missing_image(path: Path) -> str:
    """Return the message that an image's file is missing."""
    return f"{path}: there is no such image"


def _explain_missing_file(path: Path) -> str:
    return "" if is_file(path) else describe_missing_image(path)


def _fingerprint_existing(path: Path) -> str:
    if reason := _explain_missing_file(path):
        raise UserError(f"{reason}. {_RESTORE}")
    return fingerprint_file(path)


def make_file_ref(path: Path, key: str, row: int | None = None) -> ImageRef:
    """Return a reference to an image in a file; opening a missing or damaged one raises `UserError`."""
    return StoredImage(
        key, partial(open_image, path), partial(_fingerprint_existing, path), row, partial(_explain_missing_file, path)
    )


def resolve_inside(folder: Path, name: str, field: str) -> Path:
    """Return the path of a file that an entry of others names, below a folder; links within it may lead outside.

    Args:
        folder: folder that names are relative to.
        name: the name.
        field: field that holds it, for messages.

    Raises:
        RecordError: if the name itself leads outside, because an untrusted file must not read others.
    """
    normal = os.path.normpath(name)
    if Path(normal).is_absolute() or Path(normal).parts[:1] == ("..",):
        raise RecordError(f"field {field!r} is {name[:_MAX_SHOWN]!r}, which is outside of the dataset's folder")
    return folder / normal


def make_ref_inside(folder: Path, name: str, field: str) -> ImageRef:
    """Return a reference to the image of this name below a folder; arguments and errors as of `resolve_inside`."""
    return make_file_ref(resolve_inside(folder, name, field), name)


def make_unavailable_ref(key: str, reason: str, row: int | None = None) -> ImageRef:
    """Return a reference for a row that has a precomputed vector but no image; opening it raises `UserError`."""

    def refuse() -> NoReturn:
        raise UserError(reason)

    return ImageRef(key, refuse, refuse, row)


def explain_missing(image: ImageRef) -> str:
    """Return why an image is missing, without opening it; empty if it exists, or is drawn by code."""
    return image.explain_missing() if isinstance(image, StoredImage) else ""


def keep_with_images(
    examples: Sequence[Example], split: str, on_missing_image: OnBadRows
) -> tuple[list[Example], Counter[str]]:
    """Return the examples whose images exist, and the number of examples that are left out.

    Examples that name no image stay. So do those whose image is damaged, because no image is opened.

    Raises:
        UserError: if images are missing and `on_missing_image` is "error", or all are missing; with the counts.
    """
    named = {example.image.key: example.image for example in examples if example.image is not None}
    reasons = {key: reason for key, image in named.items() if (reason := explain_missing(image))}
    if not reasons:
        return list(examples), Counter()
    problem = (
        f"{len(reasons):,} of {len(named):,} images of {split} are missing; the first is {next(iter(reasons.values()))}"
    )
    if len(reasons) == len(named):
        raise UserError(f"{problem}. {_RESTORE}")
    if on_missing_image == "error":
        raise UserError(
            f"{problem}. Put them there, or leave out and count their examples with data.on_missing_image=skip"
        )
    usable = [example for example in examples if example.image is None or example.image.key not in reasons]
    return usable, Counter({"examples whose image is missing": len(examples) - len(usable)})
