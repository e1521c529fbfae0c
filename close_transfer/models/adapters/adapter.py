"""What every adapter is, and where its random numbers come from.

Shapes: b examples, d width of the vectors, optional k vectors an example (grid features).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float64Array
from close_transfer.models.adapters.statistics import Statistics

# What a vector was made from: an adapter may treat the two differently.


@dataclass(frozen=True)
class NoiseSource:
    """Where a batch gets its random numbers from.

    Numbers are drawn for the whole global batch of an optimiser step and the batch takes its own
    rows, so they do not depend on how the step is split over processes or accumulation.

    Attributes:
        generator: a CPU generator, in a state that depends on seed and step alone.
        start: position of the batch's first example in the global batch.
        num_examples: size of the global batch.
    """

    generator: torch.Generator
    start: int
    num_examples: int

    def normal_like(self, vectors: Tensor) -> Tensor:
        """Standard normal numbers for these vectors, drawn on the CPU whatever their device."""
        return self._take_rows(torch.randn(self.num_examples, *vectors.shape[1:], generator=self.generator), vectors)

    def uniform_like(self, vectors: Tensor) -> Tensor:
        """A number in 0..1 for each of these vectors; (b, *k, 1)."""
        return self._take_rows(
            torch.rand(self.num_examples, *vectors.shape[1:-1], 1, generator=self.generator), vectors
        )

    def _take_rows(self, drawn: Tensor, vectors: Tensor) -> Tensor:
        return drawn[self.start : self.start + len(vectors)].to(vectors)


@dataclass(frozen=True)
class AdapterContext:
    """What an adapter is built from.

    Attributes:
        dim: width of the vectors.
        std: standard deviation of the noise per coordinate; at least 0, 0 adds nothing.
        statistics: what was measured on texts, images or pairs; None when a saved model is built, whose
            weights hold what came of them.
        stage: which vectors the adapter's statistics are of; see `Statistics`.
    """

    dim: int
    std: float
    statistics: Statistics | None = None
    stage: str = ""

    def mean(self, of: str) -> Float64Array:
        """Mean of "text", "image" or "difference", shape (d,).

        Raises:
            UserError: if it was not measured.
        """
        return self._get_array(f"{of}_mean", (self.dim,))

    def covariance(self, of: str) -> Float64Array:
        """Covariance of "text", "image" or "difference", shape (d, d). Raises as `mean`."""
        return self._get_array(f"{of}_covariance", (self.dim, self.dim))

    def regression(self) -> tuple[Float64Array, Float64Array]:
        """Weight (d, d) and bias (d,) from text to image. Raises as `mean`."""
        return self._get_array("linear_weight", (self.dim, self.dim)), self._get_array("linear_bias", (self.dim,))

    def _get_array(self, name: str, shape: tuple[int, ...]) -> Float64Array:
        return np.zeros(shape) if self.statistics is None else self.statistics.array(self.stage + name)


class Adapter(nn.Module, ABC):
    """One step between an encoder's vector and the mapper; steps follow each other in an `AdapterChain`.

    Attributes:
        is_fitted: whether it reads statistics.
        data_regime: the least data that those need ("T0" text, "T1" unpaired images, "T4" pairs).
        is_blind: whether nothing of the vector is left, so that the model sees nothing.
    """

    is_fitted: ClassVar[bool] = False
    data_regime: str = "T0"
    is_blind: ClassVar[bool] = False

    def __init__(self, context: AdapterContext, **settings: Any) -> None:
        """`settings` are those of the adapter's YAML."""
        super().__init__()

    @abstractmethod
    def forward(
        self, vectors: Float[Tensor, "b *k d"], input_modality: InputModality, noise: NoiseSource | None
    ) -> Float[Tensor, "b *k d"]:
        """Adapts vectors.

        Args:
            vectors: of unit length.
            input_modality: what they were made from.
            noise: where random numbers come from; None in test, where nothing random is done.

        Returns:
            Vectors of any length; the chain brings them back to unit length.
        """

    def register_arrays(self, **arrays: NDArray[np.floating]) -> None:
        """Keeps arrays by name, in 32 bits, where they are saved with the model.

        They are made by numpy: transformers builds a model that is about to be loaded on a device without data.
        """
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(array, dtype=np.float32)))
