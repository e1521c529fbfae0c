"""Test items of composition: an image with a right and wrong captions, and twins, two images with two captions."""

from collections.abc import Sequence
from dataclasses import dataclass

from close_transfer.core.atomic_files import fingerprint
from close_transfer.data.examples import ImageRef


@dataclass(frozen=True)
class ChoiceItem:
    """Choice between captions of one image.

    Attributes:
        id: unique within the test.
        stratum: kind of the change that makes a caption wrong, such as "order".
        image: the image.
        captions: the right caption, then one or more wrong ones.
    """

    id: str
    stratum: str
    image: ImageRef
    captions: tuple[str, ...]


@dataclass(frozen=True)
class TwinItem:
    """Two images with two captions; caption i describes image i only.

    A system that does not see the images is right for exactly one of the two, because its choice is the same for both.

    Attributes:
        id: unique within the test.
        stratum: kind of the difference, such as "attribute".
        images: the two images.
        captions: their captions.
    """

    id: str
    stratum: str
    images: tuple[ImageRef, ImageRef]
    captions: tuple[str, str]


@dataclass(frozen=True)
class CompositionTest:
    """Items of one test of composition; either list may be empty."""

    choices: Sequence[ChoiceItem]
    twins: Sequence[TwinItem]

    def fingerprint(self) -> str:
        """Return a fingerprint of all items, images by their keys."""
        choices = ("\x1f".join((item.id, item.stratum, item.image.key, *item.captions)) for item in self.choices)
        twins = (
            "\x1f".join((item.id, item.stratum, *(image.key for image in item.images), *item.captions))
            for item in self.twins
        )
        return fingerprint([*choices, *twins])
