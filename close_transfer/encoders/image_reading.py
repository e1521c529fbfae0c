"""Images read for an encoder: in threads between its batches, or in worker processes ahead of it."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.transform import MaybeConvertMode
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, Normalize, ToTensor

from close_transfer.core.child_processes import open_background_pool
from close_transfer.core.errors import UserError
from close_transfer.core.threads import count_cores
from close_transfer.data.image_preparation import (
    ImageOpener,
    PreparedImage,
    ensure_rgb,
    prepare_images,
    prepare_in_worker,
)
from close_transfer.encoders.background import copy_to_device, map_ahead, map_in_pool

NumWorkers = int | Literal["auto"]
ReadPart = tuple[list[PreparedImage], bool]  # images of a part of a group, and True with the group's last part

# A process takes seconds to start, in which threads prepare about as many images.
_MIN_IMAGES_FOR_PROCESSES = 2000
_MAX_PROCESSES = 16
_CHUNK = 8  # images per call of a process or a thread: more cost less per image, fewer spread evenly
_MAX_THREADS = 8  # each holds one image of full size in memory, and Python's lock leaves no use for more


def count_processes(num_workers: NumWorkers, num_images: int | None, device: str) -> int:
    """Return the number of worker processes, 0 for threads of this one.

    On "auto" a GPU gets one per core but one, if there are enough images. On a CPU the encoder itself uses all cores, and
    processes would only slow it down. There are never more processes than have work.
    """
    if num_workers != "auto":
        return num_workers if num_images is None else min(num_workers, -(-num_images // _CHUNK))
    if device == "cpu" or num_images is None or num_images < _MIN_IMAGES_FOR_PROCESSES:
        return 0
    return min(count_cores() - 1, _MAX_PROCESSES)


class ImageReader:
    """Images opened and preprocessed, in order, with at most a few batches of them in memory."""

    def __init__(self, preprocess: Callable[[Image.Image], Any], batch_size: int, device: str) -> None:
        """Divide the preprocessing into a part per image and a part per batch.

        Args:
            preprocess: an encoder's preprocessing, from an RGB image to a tensor (channels, height, width).
            batch_size: images per batch of the encoder.
            device: device of the encoder.
        """
        self.batch_size, self.device = batch_size, device
        self._transform, self._normalize = _split_preprocessing(preprocess)

    def read(
        self, groups: Iterable[Sequence[ImageOpener]], num_workers: NumWorkers, num_images: int | None = None
    ) -> Generator[ReadPart]:
        """Yield images for `stack`, a part of a group at a time; closing it ends threads and processes.

        Args:
            groups: functions that open each image; with processes they are pickled.
            num_workers: processes; 0 for threads.
            num_images: number of all images; None if it is not known.

        Raises:
            UserError: if a process was killed, such as for lack of memory.
        """
        num_processes = count_processes(num_workers, num_images, self.device)
        if num_processes:
            num_ahead = max(2 * num_processes, 2 * self.batch_size // _CHUNK)
            return self._read_in_processes(groups, num_processes, num_ahead)
        if self.device == "cpu":
            return self._read_between_batches(groups)
        num_threads = min(count_cores(), _MAX_THREADS)
        return map_ahead(partial(_prepare_part, self._transform), _divide(groups, _CHUNK), num_threads)

    def _read_between_batches(self, groups: Iterable[Sequence[ImageOpener]]) -> Generator[ReadPart]:
        """Read a batch in all threads of the encoder, which waits meanwhile.

        Threads that read while it works would take turns with its threads on the same cores, which is slower.
        """
        with ThreadPoolExecutor(min(torch.get_num_threads(), _MAX_THREADS), thread_name_prefix="encoding") as executor:
            for openers, is_last in _divide(groups, self.batch_size):
                chunks = [[opener] for opener in openers]
                results = executor.map(partial(prepare_images, self._transform), chunks)
                yield [image for images in results for image in images], is_last

    def _read_in_processes(
        self, groups: Iterable[Sequence[ImageOpener]], num_processes: int, num_ahead: int
    ) -> Generator[ReadPart]:
        is_last_part: deque[bool] = deque()

        def list_chunks() -> Iterator[Sequence[ImageOpener]]:
            for openers, is_last in _divide(groups, _CHUNK):
                is_last_part.append(is_last)
                yield openers

        pool = open_background_pool(num_processes)
        try:
            prepare = partial(prepare_in_worker, self._transform)
            with closing(map_in_pool(pool, prepare, list_chunks(), num_ahead)) as results:
                for images in results:
                    yield images, is_last_part.popleft()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process that reads images ended early: it was killed, maybe for lack of memory, or your own script "
                'starts its work without if __name__ == "__main__". Give embedding_cache.image_workers=0, or fewer than before'
            ) from error

    @torch.inference_mode()
    def stack(self, images: Sequence[NDArray[Any]]) -> Tensor:
        """Return a batch on the device, shape (images, channels, height, width), normalised."""
        batch = copy_to_device(torch.from_numpy(np.stack(images)), self.device)
        if self._normalize is None:
            return batch
        batch = batch.permute(0, 3, 1, 2).contiguous().float()
        # The divisor is a tensor, because a GPU would multiply by the inverse of a number, which rounds differently.
        return self._normalize(batch / torch.tensor(255.0, device=batch.device))


def _prepare_part(transform: Callable[[Image.Image], Any], part: tuple[Sequence[ImageOpener], bool]) -> ReadPart:
    openers, is_last = part
    return prepare_images(transform, openers), is_last


def _divide(groups: Iterable[Sequence[ImageOpener]], size: int) -> Iterator[tuple[Sequence[ImageOpener], bool]]:
    """Yield parts of each group, and True with its last part; an empty group has one part."""
    for group in groups:
        for start in range(0, max(len(group), 1), size):
            yield group[start : start + size], start + size >= len(group)


def _split_preprocessing(preprocess: Callable[[Image.Image], Any]) -> tuple[Callable[[Image.Image], Any], Any]:
    """Return what is left for each image, and the normalising of a batch; None if all is done per image.

    Bytes of pixels are a quarter of the numbers that they are normalised to, and normalising is faster by batch.
    """
    steps = list(getattr(preprocess, "transforms", ()))
    if len(steps) < 2 or not isinstance(steps[-2], ToTensor) or not isinstance(steps[-1], Normalize):
        return preprocess, None
    # Without open_clip's step, worker processes need not import open_clip, which takes long.
    return Compose([ensure_rgb if isinstance(step, MaybeConvertMode) else step for step in steps[:-2]]), steps[-1]
