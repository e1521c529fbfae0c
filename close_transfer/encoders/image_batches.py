"""Encoding of images in batches, which encoders inherit, with or without a text tower."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from close_transfer.core.arrays import Float32Array
from close_transfer.core.errors import UserError
from close_transfer.data.image_preparation import ImageOpener
from close_transfer.encoders.background import fetch_late
from close_transfer.encoders.encoder import ImageGroup, build_no_text_tower_error
from close_transfer.encoders.image_reading import ImageReader, NumWorkers, ReadPart


class BatchedImageEncoder(ABC):
    """Encoder of images in batches. A subclass sets `_reader`, which has its preprocessing, and defines `_encode`."""

    _reader: ImageReader

    @abstractmethod
    def _encode(self, images: Tensor) -> Tensor:
        """Return the vectors of a batch on the device, shape (images, [k,] dim).

        Args:
            images: preprocessed images as `ImageReader.stack` returns them.
        """

    def encode_images(self, images: Iterable[Image.Image]) -> Float32Array:
        """Return raw image vectors, shape (images, dim), or (images, k, dim) of a grid; float32."""
        (group,) = self.encode_image_groups([[image.copy for image in images]])
        return group.vectors

    def encode_image_groups(
        self,
        groups: Iterable[Sequence[ImageOpener]],
        num_workers: NumWorkers = 0,
        num_images: int | None = None,
        skip_unreadable: bool = False,
    ) -> Iterator[ImageGroup]:
        """Yield the raw vectors of each group of images; the next images are read meanwhile.

        The batches do not depend on the parts in which images are read. Arguments and errors as of
        `Encoder.encode_image_groups`.
        """
        # Of each batch: the unreadable images of the group that it ends.
        ends: deque[dict[int, UserError] | None] = deque()
        vectors: list[Float32Array] = []
        with closing(self._reader.read(groups, num_workers, num_images)) as read:
            for batch in fetch_late(self._encode_batches(read, skip_unreadable, ends)):
                if batch.size:
                    vectors.append(batch)
                unreadable = ends.popleft()
                if unreadable is not None:
                    yield ImageGroup(
                        np.concatenate(vectors) if vectors else np.empty((0, 0), dtype=np.float32), unreadable
                    )
                    vectors = []

    def _encode_batches(
        self, read: Iterable[ReadPart], skip_unreadable: bool, ends: deque[dict[int, UserError] | None]
    ) -> Iterator[Tensor]:
        """Yield vectors of each batch, those of a group's last one empty if no image of the group is left for it."""
        batch_size = self._reader.batch_size
        pending: list[NDArray[Any]] = []
        unreadable: dict[int, UserError] = {}
        position = 0
        for images, is_last in read:
            for image in images:
                if isinstance(image, UserError):
                    if not skip_unreadable:
                        raise image
                    unreadable[position] = image
                else:
                    pending.append(image)
                position += 1
            while len(pending) >= batch_size or is_last:
                batch, pending = pending[:batch_size], pending[batch_size:]
                ends_group = is_last and not pending
                ends.append(unreadable if ends_group else None)
                yield (
                    self._encode(self._reader.stack(batch))
                    if batch
                    else torch.empty((0, 0), device=self._reader.device)
                )
                if ends_group:
                    unreadable, position = {}, 0
                    break


class ImageOnlyEncoder(BatchedImageEncoder):
    """Encoder of images without a text tower, which refuses texts."""

    name: str
    text_key = ""

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Raise `UserError`, because there is no text tower."""
        raise build_no_text_tower_error(self.name)

    def encode_text_groups(self, groups: Iterable[Sequence[str]]) -> Iterator[Float32Array]:
        """Raise `UserError`, because there is no text tower."""
        raise build_no_text_tower_error(self.name)

    def count_cut(self, texts: Sequence[str]) -> int:
        """Raise `UserError`, because there is no text tower."""
        raise build_no_text_tower_error(self.name)
