"""Images or vectors to predict from, in batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from close_transfer.config.components import ClipConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.core.atomic_files import fingerprint, fingerprint_file
from close_transfer.core.errors import UserError
from close_transfer.data.image_files import OPENING, explain_unreadable, find_images, open_image
from close_transfer.encoders import Encoder, load_encoder
from close_transfer.encoders.precomputed import read_array
from close_transfer.inference.loading import check_encoder
from close_transfer.models.network import TransferNetwork

Unreadable = dict[str, str]  # id and reason


class PredictionInputs(Protocol):
    """What is to be answered, in order.

    Attributes:
        num: how many there are.
        num_other: files that were left out by their names.
        faults: what is known beforehand to be unreadable.
        key: all that decides their vectors, for a journal.
    """

    num: int
    num_other: int
    faults: list[Unreadable]
    key: dict[str, str]

    def batch(self, start: int, end: int) -> tuple[list[str], NDArray[np.float32], list[Unreadable]]:
        """Ids and vectors of the readable ones from `start` to before `end`; the others with reasons."""

    def seen_by(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> NDArray[np.float32]:
        """Vectors by another encoder of those `ids` that are from `start` to before `end`."""


class _ImageInputs:
    def __init__(self, root: Path, model: TransferNetwork, clip: ClipConfig, device: str) -> None:
        images = find_images(root)
        self._files = images.files
        self.num, self.num_other = len(images.files), images.num_other
        self.faults = [{"id": name, "reason": reason} for name, reason in images.faults]
        self._encoder = load_encoder(clip, device)
        check_encoder(self._encoder, model)
        self.key = {
            "encoder": fingerprint([self._encoder.image_key, OPENING, clip.model_dump_json()]),
            "images": fingerprint(f"{name}\0{_compute_stamp(path)}" for name, path in images.files),
        }

    def batch(self, start: int, end: int) -> tuple[list[str], NDArray[np.float32], list[Unreadable]]:
        names: list[str] = []
        unreadable: list[Unreadable] = []

        def open_readable() -> Iterator[Image.Image]:
            for name, path in self._files[start:end]:
                try:
                    image = open_image(path)
                except UserError as error:
                    unreadable.append({"id": name, "reason": explain_unreadable(error)})
                    continue
                names.append(name)
                yield image

        return names, self._encoder.encode_images(open_readable()), unreadable

    def seen_by(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> NDArray[np.float32]:
        readable = set(ids)
        return encoder.encode_images(open_image(path) for name, path in self._files[start:end] if name in readable)


def _compute_stamp(path: Path) -> str:
    """What changes when a file is written anew."""
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
                f"embeddings={path}: rows are {self._array.shape[-1]} wide, but the run was trained on {trained['name']}, {trained['dim']} wide; encode with that encoder"
            )
        self.num, self.num_other = len(self._array), 0
        self.faults: list[Unreadable] = []
        self.key = {"embeddings": fingerprint_file(path)}

    def batch(self, start: int, end: int) -> tuple[list[str], NDArray[np.float32], list[Unreadable]]:
        block = np.array(self._array[start:end], dtype=np.float32)
        return [str(start + row) for row in range(len(block))], block, []

    def seen_by(self, encoder: Encoder, start: int, end: int, ids: Sequence[str]) -> NDArray[np.float32]:
        raise UserError(
            "rerank_encoder: there are vectors of the run's own encoder only; give images=, or leave the reranker out"
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
            "the run was trained on precomputed vectors, so images cannot be encoded here; give embeddings=FILE"
        )
    return _ImageInputs(Path(config.images), model, clip, device)
