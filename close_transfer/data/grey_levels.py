"""Conversion of grey images with more than 8 bits per pixel to 8 bits, by the range of their format.

The range comes from the format and not from the pixels, so that two images of one series keep their relation:

- integers of b bits: 0 is black, and the largest number of the format is white: 2^b - 1, or 2^(b-1) - 1 if it is signed;
- floats: 0 is black and 1 is white.

Images whose pixels contradict this have no known range, so they are refused.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

_WHITE_OF_16_BITS = 65_535
_WHITE_OF_32_BITS = 2**31 - 1  # Pillow's mode I is signed
# Pillow keeps these in 32 bits although their files have 16 at most.
_FORMATS_OF_16_BITS = ("PNG", "PPM")
# Tags of TIFF: bits per sample; 0 if white is zero; 1 unsigned, 2 signed, 3 float.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339


class UnknownRangeError(Exception):
    """Reason why the pixels of an image have no known range."""


@dataclass(frozen=True)
class GreyLevels:
    """Range of an image's pixels.

    Attributes:
        white: number of the brightest pixel that the format has; black is 0. 1.0 for floats.
        is_unsigned: True if the pixels are unsigned integers, which Pillow reads as signed.
        is_negative: True if 0 is white and `white` is black, as in TIFF files that say so.
    """

    white: float
    is_unsigned: bool = False
    is_negative: bool = False

    def scale(self, image: Image.Image) -> Image.Image:
        """Return the image with 8 bits per pixel, each rounded to the nearest of 0 to 255.

        Raises:
            UnknownRangeError: if pixels are negative, not finite, or floats above 1, or if 32-bit integers need 16 bits
                only, because then they would all become black.
        """
        values = np.asarray(image)
        if self.is_unsigned and values.dtype == np.int32:
            values = values.view(np.uint32)
        self._check(values)
        if self.white <= _WHITE_OF_16_BITS and values.dtype.kind in "iu":
            scaled = np.rint(np.arange(int(self.white) + 1) * (255 / self.white)).astype(np.uint8)[values]
        else:
            scaled = np.rint(values * (255 / self.white)).astype(np.uint8)
        return Image.fromarray(255 - scaled if self.is_negative else scaled)

    def _check(self, values: np.ndarray) -> None:
        low, high = values.min(), values.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UnknownRangeError("it holds NaN or infinity")
        if low < 0 or high > self.white:
            raise UnknownRangeError(
                f"its pixels are numbers from {low:.6g} to {high:.6g}, but {'floats' if self.white == 1 else 'pixels'} are "
                f"read from 0 (black) to {self.white:.10g} (white). Scale them, or save it with 8 bits"
            )
        if self.white > _WHITE_OF_16_BITS and 0 < high <= _WHITE_OF_16_BITS:
            raise UnknownRangeError(
                f"its pixels are 32-bit integers up to {high} only, so it would be black. Save it with 8 or 16 bits"
            )


def find_grey_levels(image: Image.Image) -> GreyLevels | None:
    """Return the range of the pixels of an opened image, or None if it has colours or at most 8 bits.

    Call it before the image is turned or copied, because that loses the format and its tags.
    """
    if not image.mode.startswith(("I", "F")):
        return None
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    is_negative = tags.get(_PHOTOMETRIC) == 0
    if image.mode == "F":
        return GreyLevels(1.0, is_negative=is_negative)
    if tags:
        bits, sample_format = _get_first(tags.get(_BITS), 16), _get_first(tags.get(_SAMPLE_FORMAT), 1)
        white = 2 ** (bits - 1) - 1 if sample_format == 2 else 2**bits - 1
        return GreyLevels(white, sample_format == 1, is_negative)
    has_16_bits = image.mode != "I" or image.format in _FORMATS_OF_16_BITS
    return GreyLevels(_WHITE_OF_16_BITS if has_16_bits else _WHITE_OF_32_BITS)


def _get_first(value: object, default: int) -> int:
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) and 1 <= first <= 32 else default
