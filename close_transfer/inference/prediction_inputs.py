"""Inputs of prediction: image files or vectors from a file, read in batches."""

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from close_transfer.config.components import ClipConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.core.arrays import Float32Array
from close_transfer.core.atomic_files import fingerprint, fingerprint_file
from close_transfer.core.errors import UserError
from close_transfer.data.image_files import OPENING, explain_unreadable, find_images, open_image
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.encoders.image_reading import NumWorkers
from close_transfer.encoders.precomputed import read_array
from close_transfer.inference.loading import check_encoder
from close_transfer.models.network import TransferNetwork

Unreadable = dict[str, str]  # id of an input, and the reason why it cannot be read
# Ids and vectors, shape (rows, dim), of the inputs that could be read, and the others.
InputBatch = tuple[list[str], Float32Array, list[Unreadable]]


class PredictionInputs(Protocol):
    """Interface: images or vectors to predict for, in order.

    Attributes:
        num: number of inputs.
        num_other: number of files that were ignored, because their names have no image extension.
        unreadable: files and folders that are already known to be unreadable.
        key: everything that the vectors depend on, for the key of a journal.
    """

    num: int
    num_other: int
    unreadable: list[Unreadable]
    key: dict[str, str]

    def iterate_batches(self, ranges: Sequence[tuple[int, int]]) -> Generator[InputBatch]:
        """Yield the inputs of each range from start to end; images of the next ones may be read meanwhile."""

    def encode_with(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> Float32Array:
        """Encode with another encoder those inputs of [start, end) whose ids are given."""


class _ImageInputs:
    def __init__(
        self, root: Path, model: TransferNetwork, clip: ClipConfig, device: str, num_workers: NumWorkers
    ) -> None:
        images = find_images(root)
        self._files = images.files
        self.num, self.num_other = len(images.files), images.num_other
        self.unreadable = [{"id": name, "reason": reason} for name, reason in images.faults]
        self._num_workers = num_workers
        self._encoder = load_encoder(clip, device)
        check_encoder(self._encoder, model)
        self.key = {
            "encoder": fingerprint([self._encoder.image_key, OPENING, clip.model_dump_json()]),
            "images": fingerprint(f"{name}\0{_compute_stamp(path)}" for name, path in images.files),
        }

    def iterate_batches(self, ranges: Sequence[tuple[int, int]]) -> Generator[InputBatch]:
        groups = ([partial(open_image, path) for _, path in self._files[start:end]] for start, end in ranges)
        num_images = sum(end - start for start, end in ranges)
        encoded = self._encoder.encode_image_groups(groups, self._num_workers, num_images, skip_unreadable=True)
        for (start, end), group in zip(ranges, encoded, strict=True):
            names = [name for name, _ in self._files[start:end]]
            unreadable = [
                {"id": names[position], "reason": explain_unreadable(error)}
                for position, error in group.unreadable.items()
            ]
            readable = [name for position, name in enumerate(names) if position not in group.unreadable]
            yield readable, group.vectors, unreadable

    def encode_with(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> Float32Array:
        readable = set(ids)
        openers = [partial(open_image, path) for name, path in self._files[start:end] if name in readable]
        (group,) = encoder.encode_image_groups([openers])
        return group.vectors


def _compute_stamp(path: Path) -> str:
    """Return size and time of change of a file; hashing all contents would be slow for large folders."""
    try:
        status = path.stat()
    except OSError as error:
        return f"unreadable: {error.errno}"
    return f"{status.st_size} {status.st_mtime_ns}"


class _EmbeddingInputs:
    def __init__(self, path: Path, model: TransferNetwork) -> None:
        self._array = read_array(path, "embeddings")
        trained = model.config.encoder
        if self._array.shape[-1] != trained["dim"]:
            raise UserError(
                f"embeddings={path}: the vectors have {self._array.shape[-1]} dimensions, but the run was trained on "
                f"{trained['name']} with {trained['dim']}. Encode with that encoder"
            )
        self.num, self.num_other = len(self._array), 0
        self.unreadable: list[Unreadable] = []
        self.key = {"embeddings": fingerprint_file(path)}

    def iterate_batches(self, ranges: Sequence[tuple[int, int]]) -> Generator[InputBatch]:
        for start, end in ranges:
            block = np.array(self._array[start:end], dtype=np.float32)
            yield [str(start + row) for row in range(len(block))], block, []

    def encode_with(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> Float32Array:
        raise UserError(
            f"rerank_encoder needs images to encode with {encoder.name}, and embeddings= gives vectors of the run's own "
            "encoder only. Give images=, or leave rerank_encoder out"
        )


def open_inputs(config: PredictConfig, model: TransferNetwork, clip: ClipConfig, device: str) -> PredictionInputs:
    """Return the images or vectors that the settings name.

    Raises:
        UserError: if they cannot be read, or do not fit the model.
    """
    if config.embeddings is not None:
        return _EmbeddingInputs(Path(config.embeddings), model)
    assert config.images is not None
    if not clip.encodes_images:
        raise UserError(
            f"images={config.images}: the run was trained on vectors from files, so it cannot encode images. Encode them "
            "with the same encoder, and give embeddings=FILE"
        )
    return _ImageInputs(Path(config.images), model, clip, device, config.embedding_cache.image_workers)
