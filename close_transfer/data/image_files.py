"""Image files from any source: searched for, and opened upright, as 8-bit RGB, the first frame, on white.

An image that cannot be used raises a `UserError` that names the file and the reason.
"""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from close_transfer.core.errors import UserError
from close_transfer.data.grey_levels import UnknownRangeError, find_grey_levels

# Name of the conversion on opening; the embedding cache keys by it.
OPENING = "upright, first frame, on white, grey scaled to 8 bits by its format's range"

# Formats that Pillow decodes by itself. Pillow tries all formats for any file name, so without this list an EPS
# file named photo.png would start Ghostscript, which runs the program that the file contains.
FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP",
)  # fmt: skip
_FORMATS_THAT_START_PROGRAMS = ("EPS",)

# HEIC needs a package; the brands are the letters after "ftyp" at the start of such files.
_HEIC_SUFFIXES = {".heic", ".heif"}
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# An image is shrunk until its shorter side fits the encoder. If it is longer than this times its width, the
# other side would fill the memory.
_MAX_ASPECT_RATIO = 200


class _Unusable(Exception):
    """Reason why an image cannot be used."""


class UnreadableImageError(UserError):
    """Error of an image that cannot be used.

    Attributes:
        reason: the reason alone. It survives a way through another process, which an error's cause does not.
    """

    def __init__(self, name: str, reason: str) -> None:
        """Name the image and the reason."""
        super().__init__(f"{name}: cannot be read as an image ({reason}). Give another file")
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[type["UnreadableImageError"], tuple[str, str]]:
        """Return what another process makes the error from."""
        return type(self), (self.name, self.reason)


@dataclass(frozen=True)
class FoundImages:
    """Images of a folder, none of them opened yet.

    Attributes:
        files: id and path of each, sorted by name. An id is the path relative to the folder, with
            slashes; bytes that are not UTF-8 are escaped. Ids are unique.
        faults: folders that could not be listed, each with the reason.
        num_other: number of files without an image extension.
    """

    files: list[tuple[str, Path]]
    faults: list[tuple[str, str]]
    num_other: int


def find_images(root: Path, setting: str = "images") -> FoundImages:
    """Find the file, or all images in the folder and below; a folder that is linked twice counts once.

    Args:
        root: the file or folder.
        setting: setting that names it, for messages.

    Raises:
        UserError: if there is no such file, or no image in the folder.
    """
    if root.is_file():
        return FoundImages([(_escape_undecodable(root.name), root)], [], 0)
    if not root.is_dir():
        raise UserError(f"{setting}={root}: there is no such file or folder. Give an image or a folder of images")
    image_suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    image_suffixes |= _HEIC_SUFFIXES
    faults: list[OSError] = []
    visited: set[tuple[int, int]] = set()
    paths, num_files = [], 0
    for folder, folders, names in os.walk(root, followlinks=True, onerror=faults.append):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link may lead back to a parent
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders.sort()
        num_files += len(names)
        paths += [Path(folder, name) for name in names if Path(name).suffix.lower() in image_suffixes]
    if not paths:
        unlisted = f" ({len(faults)} folders could not be listed)" if faults else ""
        raise UserError(
            f"{setting}={root}: there is no image in this folder or below it{unlisted}. Give a folder with images "
            f"({', '.join(sorted(image_suffixes)[:12])} and more)"
        )
    paths.sort(key=lambda path: path.parts)
    unlisted_folders = [
        (_escape_undecodable(_make_relative(Path(fault.filename), root)), fault.strerror or "") for fault in faults
    ]
    return FoundImages(
        list(zip(_assign_ids([_make_relative(path, root) for path in paths]), paths, strict=True)),
        unlisted_folders,
        num_files - len(paths),
    )


def _make_relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _escape_undecodable(name: str) -> str:
    """Write bytes of the name that are not UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _assign_ids(names: list[str]) -> list[str]:
    """Turn names into ids: UTF-8 names stay, others are escaped and made unique."""
    taken = {name for name in names if name == _escape_undecodable(name)}
    ids = []
    for name in names:
        identifier = _escape_undecodable(name)
        if identifier != name:
            while identifier in taken:
                identifier += "_"
            taken.add(identifier)
        ids.append(identifier)
    return ids


def open_image(path: Path) -> Image.Image:
    """Open the image in a file as 8-bit RGB.

    It is rotated by its EXIF data, transparency becomes white, grey of 16 or 32 bits is scaled to 8 by its format's range,
    and the first of several frames is used.

    Raises:
        UserError: with the file and the reason, if it cannot be used.
    """
    try:
        is_other = path.exists() and not path.is_file()
    except OSError:  # an impossible file name; opening it raises the reason
        is_other = False
    if is_other:  # opening a pipe would wait for ever
        raise UnreadableImageError(str(path), "it is not a file")
    return _open_source(path, str(path))


def read_image(content: bytes, name: str) -> Image.Image:
    """Read the image in these bytes, as `open_image`; `name` is for messages."""
    return _open_source(io.BytesIO(content), name)


def explain_unreadable(error: UserError) -> str:
    """Return the reason alone, from an error of `open_image`."""
    return error.reason if isinstance(error, UnreadableImageError) else str(error)


@contextmanager
def _ignoring_warnings() -> Iterator[None]:
    """Ignore warnings while any thread is within: filters are the process's, and the last thread restores them."""
    with _filters.lock:
        if not _filters.num_threads:
            _filters.saved.__enter__()
            warnings.simplefilter("ignore")
        _filters.num_threads += 1
    try:
        yield
    finally:
        with _filters.lock:
            _filters.num_threads -= 1
            if not _filters.num_threads:
                _filters.saved.__exit__(None, None, None)
                _filters.saved = warnings.catch_warnings()


@dataclass
class _Filters:
    """State of `_ignoring_warnings`: the threads that are within, and the filters to restore."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    num_threads: int = 0
    saved: warnings.catch_warnings = field(default_factory=warnings.catch_warnings)


_filters = _Filters()


def _open_source(source: Path | BinaryIO, name: str) -> Image.Image:
    try:
        # Pillow warns about damage that it can repair.
        with _ignoring_warnings(), _identify(source) as image:
            _check_shape(image.size)
            converted = convert_to_rgb(image)
            _check_shape(converted.size)  # the size of an icon is known only after it is decoded
            return converted
    except Image.DecompressionBombError:
        megapixels = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        reason = f"more than {megapixels:.0f} megapixels, the limit against decompression bombs. Make it smaller"
    except UnidentifiedImageError:
        reason = f"not an image in one of the formats {', '.join(FORMATS)}"
    except Exception as error:  # decoders raise errors of any kind on damaged data
        detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
        reason = (detail.splitlines() or [type(error).__name__])[0]
    raise UnreadableImageError(name, reason)


def _identify(source: Path | BinaryIO) -> Image.Image:
    """Open an image in one of `FORMATS`, or in HEIC if pillow-heif is installed; its pixels are not decoded yet."""
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        if not _is_heic(source):
            raise
    try:
        import pillow_heif
    except ImportError:
        raise _Unusable("it is HEIC, which needs pillow-heif. Install it by pip install pillow-heif") from None
    pillow_heif.register_heif_opener()
    return Image.open(source, formats=["HEIF"])


def _is_heic(source: Path | BinaryIO) -> bool:
    if isinstance(source, Path):
        with source.open("rb") as file:
            head = file.read(12)
    else:
        source.seek(0)
        head = source.read(12)
        source.seek(0)
    return head[4:8] == b"ftyp" and head[8:] in _HEIC_BRANDS


def _check_shape(size: tuple[int, int]) -> None:
    # Pillow raises this error at twice its limit, and warns at its limit. A warning depends on filters, which all threads
    # share.
    if Image.MAX_IMAGE_PIXELS is not None and size[0] * size[1] > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    if max(size) > _MAX_ASPECT_RATIO * min(size):
        raise _Unusable(f"{size[0]} x {size[1]} pixels: too long for its width")


def _turn_upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data do not affect the pixels
        return image


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert an opened image as `open_image` does."""
    if image.format in _FORMATS_THAT_START_PROGRAMS:  # decoding happens here, not where a caller opened it
        raise _Unusable(f"it is {image.format}, which needs another program to be drawn. Save it as PNG or JPEG")
    grey_levels = find_grey_levels(image)
    image = _turn_upright(image)
    if grey_levels is not None:
        try:
            image = grey_levels.scale(image)
        except UnknownRangeError as error:
            raise _Unusable(str(error)) from None
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        white.alpha_composite(layered)
        return white.convert("RGB")
    return image.convert("RGB")
