"""Noise of several shapes, for training only.

All take their scale from `noise=`, the standard deviation per coordinate of a unit vector, so that they can be
compared at one scale.
"""

import math
from abc import abstractmethod

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from close_transfer.config.choices import InputModality
from close_transfer.core.errors import UserError
from close_transfer.models.adapters.adapter import Adapter, AdapterContext, NoiseSource


class Noise(Adapter):
    """Base class: adds noise in training if the scale is above 0."""

    def __init__(self, context: AdapterContext) -> None:
        super().__init__(context)
        self.std = context.std

    def forward(
        self, vectors: Float[Tensor, "b *k d"], input_modality: InputModality, noise: NoiseSource | None
    ) -> Float[Tensor, "b *k d"]:
        if not self.training or noise is None or self.std == 0:
            return vectors
        return self.add_noise(vectors, noise)

    @abstractmethod
    def add_noise(self, vectors: Float[Tensor, "b *k d"], noise: NoiseSource) -> Float[Tensor, "b *k d"]:
        """Return the vectors with noise added."""


class Gaussian(Noise):
    """Isotropic noise, N(0, std^2) per coordinate (CLOSE, arXiv 2211.09778, section 3)."""

    def add_noise(self, vectors: Tensor, noise: NoiseSource) -> Tensor:
        return vectors + self.std * noise.draw_normal(vectors)


class UniformBall(Noise):
    """Uniform noise in a ball of radius std * sqrt(d + 2), whose standard deviation per coordinate is std.

    Its length is bounded by the radius. Gaussian noise of this width has nearly always the same length.
    """

    def add_noise(self, vectors: Tensor, noise: NoiseSource) -> Tensor:
        dim = vectors.shape[-1]
        direction = F.normalize(noise.draw_normal(vectors), dim=-1)
        radius = self.std * math.sqrt(dim + 2) * noise.draw_uniform(vectors) ** (1 / dim)
        return vectors + radius * direction


class RandomMagnitude(Noise):
    """Gaussian noise whose scale is drawn for each example, uniform in 0 to sqrt(3) * std.

    Its mean variance per coordinate is std^2. LinCIR (arXiv 2312.01998) draws the scale in 0 to 1.
    """

    def add_noise(self, vectors: Tensor, noise: NoiseSource) -> Tensor:
        scale = math.sqrt(3) * self.std * noise.draw_uniform(vectors)
        return vectors + scale * noise.draw_normal(vectors)


class CosineBounded(Noise):
    """Rotation of each vector in a random direction, to a cosine with the clean one that is uniform in [low, 1].

    Bounded and drawn for each example, after ArcSin (arXiv 2402.17298). The mean cosine is that of Gaussian
    noise of scale std, c = 1 / sqrt(1 + std^2 d), so low = 2c - 1.
    """

    def add_noise(self, vectors: Tensor, noise: NoiseSource) -> Tensor:
        expected = 1 / math.sqrt(1 + self.std**2 * vectors.shape[-1])
        cosine = 1 - 2 * (1 - expected) * noise.draw_uniform(vectors)
        drawn = noise.draw_normal(vectors)
        across = F.normalize(drawn - (drawn * vectors).sum(dim=-1, keepdim=True) * vectors, dim=-1)
        return cosine * vectors + (1 - cosine.square()).clamp(min=0).sqrt() * across


class CovarianceNoise(Noise):
    """Gaussian noise in the shape of a covariance.

    `shape=text`: the training texts' covariance, scaled to std per coordinate (T0). `shape=difference`: mean and
    covariance of image minus text, at their own scale for any `noise=` above 0 (T4; CLOSE, arXiv 2211.09778,
    section on adapters, "covariance").
    """

    is_fitted = True

    def __init__(self, context: AdapterContext, shape: str = "text") -> None:
        super().__init__(context)
        if shape not in ("text", "difference"):
            raise UserError(f"adapter.covariance_noise.shape={shape} is not a shape. Give text or difference")
        values, directions = np.linalg.eigh(context.covariance(shape))
        root = directions * np.sqrt(values.clip(0))
        if shape == "text":
            length = np.sqrt(np.square(root).sum())
            self.register_arrays(
                root=root * (context.std * math.sqrt(context.dim) / max(length, 1e-12)), mean=np.zeros(context.dim)
            )
        else:
            self.data_regime = "T4"
            self.register_arrays(root=root, mean=context.mean(shape))

    def add_noise(self, vectors: Tensor, noise: NoiseSource) -> Tensor:
        return vectors + self.get_buffer("mean") + noise.draw_normal(vectors) @ self.get_buffer("root").T
