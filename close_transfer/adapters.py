"""What is done to an encoder's vector before the mapper sees it; the only place where noise lives.

Shapes: b examples, d width of the vectors, optional k vectors an example (grid features).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


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
        drawn = torch.randn(self.num_examples, *vectors.shape[1:], generator=self.generator)
        return drawn[self.start : self.start + len(vectors)].to(vectors)


class Adapter(nn.Module, ABC):
    """Maps raw vectors of an encoder to what the mapper is fed; the same in training and test,
    except that noise is for training only."""

    @abstractmethod
    def forward(self, vectors: Float[Tensor, "b *k d"], noise: NoiseSource | None = None) -> Float[Tensor, "b *k d"]:
        """Adapts vectors.

        Args:
            vectors: raw vectors of any length.
            noise: where random numbers come from. Without it, and in `eval()`, nothing is added.
        """


class GaussianAdapter(Adapter):
    """Unit length, isotropic Gaussian noise, unit length (CLOSE, arXiv 2211.09778, section 3)."""

    def __init__(self, std: float) -> None:
        """`std`: standard deviation of the noise per coordinate; at least 0, 0 adds nothing."""
        super().__init__()
        self.std = std

    def forward(self, vectors: Float[Tensor, "b *k d"], noise: NoiseSource | None = None) -> Float[Tensor, "b *k d"]:
        """Unit vectors; with a noise source in training mode, noised before they are brought back
        to unit length."""
        vectors = F.normalize(vectors, dim=-1)
        if self.training and noise is not None and self.std > 0:
            vectors = F.normalize(vectors + self.std * noise.normal_like(vectors), dim=-1)
        return vectors


class BlindAdapter(Adapter):
    """All zeros, in training and test: what can be had without seeing the scene."""

    def __init__(self, std: float) -> None:
        """`std` is taken so that all adapters are built alike; there is nothing to add noise to."""
        super().__init__()
        self.std = std

    def forward(self, vectors: Float[Tensor, "b *k d"], noise: NoiseSource | None = None) -> Float[Tensor, "b *k d"]:
        """Zeros of the same shape."""
        return torch.zeros_like(vectors)


ADAPTERS: dict[str, Callable[[float], Adapter]] = {"gaussian": GaussianAdapter, "blind": BlindAdapter}
