"""Projection onto a memory of text vectors (DeCap, arXiv 2303.03032, section 3.3).

An image's vector v becomes the mean of the memory's vectors, weighted by softmax(v . m / temperature). So the
language model only meets mixtures of text vectors.

Shapes: b queries, n memory vectors, d width.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from close_transfer.core.errors import UserError

_BLOCK = 65_536  # memory vectors per block; bounds the memory of the comparison
_NEAREST = 1024  # neighbours of an approximate search; the others would have the smallest weights
_MANY_LISTS, _TRAINING_VECTORS_A_LIST = 4096, 40  # faiss warns below 39


@runtime_checkable
class Memory(Protocol):
    """Interface: projects unit-length queries, shape (b, d), onto a memory; returns unit vectors."""

    def __call__(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]: ...


class ExactMemory:
    """Projection onto the whole memory, block by block, so that only one block is in RAM at a time."""

    def __init__(self, vectors: NDArray[np.floating], temperature: float, block_size: int = _BLOCK) -> None:
        """Keep `vectors` of unit length, shape (n, d), which may be a float16 memory map; `temperature` is above 0."""
        self._vectors = vectors
        self._block_size = block_size
        self._temperature = temperature

    def __call__(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Return the weighted mean, by a softmax whose maximum and sum are carried from block to block."""
        highest = vectors.new_full((len(vectors), 1), -torch.inf)
        total, weighted = torch.zeros_like(highest), torch.zeros_like(vectors)
        for start in range(0, len(self._vectors), self._block_size):
            rows = self._vectors[start : start + self._block_size]
            block = torch.from_numpy(np.asarray(rows, dtype=np.float32)).to(vectors)
            logits = vectors @ block.T / self._temperature
            new_highest = torch.maximum(highest, logits.max(dim=1, keepdim=True).values)
            decay, weights = (highest - new_highest).exp(), (logits - new_highest).exp()
            total = total * decay + weights.sum(dim=1, keepdim=True)
            weighted = weighted * decay + weights @ block
            highest = new_highest
        return F.normalize(weighted / total, dim=-1)


class NearestMemory:
    """Projection onto the nearest 1,024 memory vectors, found by faiss in an inverted index.

    At low temperatures the other vectors have almost no weight.
    """

    def __init__(self, vectors: NDArray[np.floating], temperature: float, num_probes: int = 32) -> None:
        """Build the index; arguments as for `ExactMemory`, and the number of lists to search.

        Raises:
            UserError: if faiss is not installed.
        """
        try:
            import faiss
        except ImportError as error:
            raise UserError(
                "text_memory_search=nearest needs faiss. Install it by pip install faiss-cpu, or use text_memory_search=exact"
            ) from error
        self._temperature = temperature
        # Each list has one vector as its centre, so there cannot be more lists than vectors.
        dim, num_lists = vectors.shape[1], min(len(vectors), int(4 * len(vectors) ** 0.5))
        drawn = np.random.default_rng(0).permutation(len(vectors))[: _TRAINING_VECTORS_A_LIST * num_lists]
        # With thousands of lists, a graph finds the nearest ones much faster than comparing with all.
        lists = f"IVF{num_lists}_HNSW32" if num_lists >= _MANY_LISTS else f"IVF{num_lists}"
        index: Any = faiss.index_factory(dim, f"{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
        index.train(np.asarray(vectors[np.sort(drawn)], dtype=np.float32))
        for start in range(0, len(vectors), _BLOCK):
            index.add(np.asarray(vectors[start : start + _BLOCK], dtype=np.float32))
        index.nprobe = min(num_probes, num_lists)
        index.make_direct_map()
        self._index = index

    def __call__(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Return the mean of the nearest vectors, weighted by a softmax over them."""
        queries = vectors.detach().cpu().float().numpy()
        cosines, nearest = self._index.search(queries, min(_NEAREST, self._index.ntotal))
        cosines[nearest < 0] = -np.inf  # -1: the searched lists hold fewer vectors than requested
        weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / self._temperature)
        neighbours = [self._index.reconstruct_batch(np.maximum(indices, 0)) for indices in nearest]
        means = np.stack([weight @ rows / weight.sum() for weight, rows in zip(weights, neighbours, strict=True)])
        return F.normalize(torch.from_numpy(means).to(vectors), dim=-1)


SEARCHES: dict[str, Any] = {"exact": ExactMemory, "nearest": NearestMemory}
