"""Base class of adapters, and the source of their random numbers.

Shapes: b examples, d width of the vectors, optional k vectors per example (grid features).
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


@dataclass(frozen=True)
class NoiseSource:
    """Random numbers of a batch.

    Numbers are drawn for the whole global batch of an optimiser step, and each batch takes its own rows. So
    they do not depend on how the step is split over processes or gradient accumulation.

    Attributes:
        generator: generator of the vectors' device or of the CPU, in a state that depends on seed and step alone.
        start: position of the batch's first example in the global batch.
        num_examples: size of the global batch.
    """

    generator: torch.Generator
    start: int
    num_examples: int

    def draw_normal(self, vectors: Tensor) -> Tensor:
        """Draw standard normal numbers in the shape of these vectors."""
        shape = (self.num_examples, *vectors.shape[1:])
        return self._take_rows(torch.randn(shape, generator=self.generator, device=self.generator.device), vectors)

    def draw_uniform(self, vectors: Tensor) -> Tensor:
        """Draw one number in [0, 1) per vector, shape (b, *k, 1)."""
        shape = (self.num_examples, *vectors.shape[1:-1], 1)
        return self._take_rows(torch.rand(shape, generator=self.generator, device=self.generator.device), vectors)

    def _take_rows(self, drawn: Tensor, vectors: Tensor) -> Tensor:
        return drawn[self.start : self.start + len(vectors)].to(vectors)


@dataclass(frozen=True)
class AdapterContext:
    """Inputs that an adapter is built from.

    Attributes:
        dim: width of the vectors.
        std: standard deviation of the noise per coordinate; at least 0, and 0 adds none.
        statistics: measurements on texts, images or pairs; None for a saved model, whose weights hold what
            was fitted.
        stage: position of the vectors that the statistics describe; see `Statistics`.
    """

    dim: int
    std: float
    statistics: Statistics | None = None
    stage: str = ""

    def mean(self, of: str) -> Float64Array:
        """Return the mean of "text", "image" or "difference", shape (d,).

        Raises:
            UserError: if it was not measured.
        """
        return self._get_array(f"{of}_mean", (self.dim,))

    def covariance(self, of: str) -> Float64Array:
        """Return the covariance of "text", "image" or "difference", shape (d, d). Raises as `mean`."""
        return self._get_array(f"{of}_covariance", (self.dim, self.dim))

    def regression(self) -> tuple[Float64Array, Float64Array]:
        """Return weight (d, d) and bias (d,) of the regression from text to image. Raises as `mean`."""
        return self._get_array("linear_weight", (self.dim, self.dim)), self._get_array("linear_bias", (self.dim,))

    def _get_array(self, name: str, shape: tuple[int, ...]) -> Float64Array:
        return np.zeros(shape) if self.statistics is None else self.statistics.array(self.stage + name)


class Adapter(nn.Module, ABC):
    """One step between an encoder's vector and the mapper; steps follow each other in an `AdapterChain`.

    Attributes:
        is_fitted: True if it reads statistics.
        data_regime: the least data that those need ("T0" text, "T1" unpaired images, "T4" pairs).
        is_blind: whether nothing of the vector is left, so that the model sees nothing.
    """

    is_fitted: ClassVar[bool] = False
    data_regime: str = "T0"
    is_blind: ClassVar[bool] = False

    def __init__(self, context: AdapterContext, **settings: Any) -> None:
        """Build the step from the settings in the adapter's YAML."""
        super().__init__()

    @abstractmethod
    def forward(
        self, vectors: Float[Tensor, "b *k d"], input_modality: InputModality, noise: NoiseSource | None
    ) -> Float[Tensor, "b *k d"]:
        """Adapt vectors.

        Args:
            vectors: vectors of unit length.
            input_modality: "text" or "image", the source of the vectors.
            noise: source of random numbers; None at test time, when nothing is random.

        Returns:
            Vectors of any length; the chain scales them back to unit length.
        """

    def register_arrays(self, **arrays: NDArray[np.floating]) -> None:
        """Register float32 arrays by name, so that they are saved with the model.

        They come from numpy, because transformers builds a model that it will load on a device without data.
        """
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(array, dtype=np.float32)))
