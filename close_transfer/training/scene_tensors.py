"""Vectors of scenes as tensors: read from the memory map on the CPU, or held on the GPU if they fit there."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from close_transfer.core.arrays import IntArray
from close_transfer.encoders.background import copy_to_device
from close_transfer.encoders.embeddings import SceneVectors

# Share of the GPU's free memory that the vectors may take. The rest is for the model, its gradients and activations.
_MAX_SHARE = 0.25
_ROWS_PER_COPY = 65_536  # 200 MB of vectors of width 768, so that the host never holds all of them


class SceneTensors(Protocol):
    """Source of the examples' vectors."""

    def gather(self, examples: IntArray) -> Tensor:
        """Return raw vectors of these examples, shape (examples, [k,] dim), float32."""


class HostScenes:
    """Vectors on disk, which only the rows of a batch are read from."""

    def __init__(self, scenes: SceneVectors) -> None:
        self._scenes = scenes

    def gather(self, examples: IntArray) -> Tensor:
        return torch.from_numpy(self._scenes[examples])


class DeviceScenes:
    """Vectors in a device's memory, as float32."""

    def __init__(self, scenes: SceneVectors, device: torch.device) -> None:
        """Copy the vectors of the scenes to the device; rows of the matrix that no scene uses stay on disk."""
        used, rows = np.unique(scenes.rows, return_inverse=True)
        self._device, self._rows, self._starts = device, rows, scenes.starts
        first = scenes.matrix.gather(used[:1])
        self._matrix = torch.empty(len(used), *first.shape[1:], device=device)
        for start in range(0, len(used), _ROWS_PER_COPY):
            block = scenes.matrix.gather(used[start : start + _ROWS_PER_COPY])
            self._matrix[start : start + len(block)] = torch.from_numpy(block).to(device)

    def gather(self, examples: IntArray) -> Tensor:
        starts = self._starts[examples]
        counts = self._starts[examples + 1] - starts
        columns = np.arange(int(counts.max()))
        is_row = columns < counts[:, None]
        positions = np.where(is_row, starts[:, None] + columns, starts[:, None])
        vectors = self._matrix[self._copy(self._rows[positions])]
        if vectors.shape[1] == 1:
            return vectors[:, 0]
        # A mean over padded rows, because a scattered sum on a GPU adds in any order.
        share = self._copy(is_row / counts[:, None]).float()
        return (vectors * share.view(*share.shape, *[1] * (vectors.ndim - 2))).sum(dim=1)

    def _copy(self, array: np.ndarray) -> Tensor:
        return copy_to_device(torch.from_numpy(array), self._device)


def fits_on(device: torch.device, scenes: SceneVectors) -> bool:
    """Return True if a GPU's free memory can hold the vectors next to a model."""
    if device.type != "cuda":
        return False
    num_bytes = 4 * len(np.unique(scenes.rows)) * scenes.matrix.vectors_per_row * scenes.matrix.dim
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= _MAX_SHARE * free
