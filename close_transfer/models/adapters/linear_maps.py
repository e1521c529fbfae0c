"""Adapters by matrices: whitening, truncation, a bounded correction in few directions, and a regression."""

import numpy as np
import torch

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.models.adapters.adapter import Adapter, AdapterContext, NoiseSource
from close_transfer.models.adapters.shifts import Vectors


def _find_leading_directions(covariance: Float64Array, count: int) -> Float64Array:
    """Return the leading principal directions as columns, shape (d, count)."""
    _, directions = np.linalg.eigh(covariance)
    return directions[:, ::-1][:, :count]


def _check_count(name: str, count: int, dim: int) -> None:
    if not 1 <= count <= dim:
        raise UserError(f"{name}={count}: the vectors have {dim} directions. Give 1 to {dim}")


class Whiten(Adapter):
    """Each modality without its mean and with equal variance in all directions (W-CLIP, arXiv 2505.06934).

    Isotropic noise has the right shape for such vectors.
    """

    is_fitted = True
    data_regime = "T1"

    def __init__(self, context: AdapterContext, shrinkage: float = 0.1) -> None:
        """Fit; `shrinkage` is the share of the mean variance in each direction's variance (Ledoit and Wolf 2004).

        0 amplifies directions that carry no information.
        """
        super().__init__(context)
        if not 0 <= shrinkage <= 1:
            raise UserError(f"adapter.whiten.shrinkage={shrinkage} is outside of its range. Give 0 to 1")
        for modality in ("text", "image"):
            values, directions = np.linalg.eigh(context.covariance(modality))
            shrunk = (1 - shrinkage) * values.clip(0) + shrinkage * values.clip(0).mean()
            root = (directions / np.sqrt(shrunk.clip(1e-12))) @ directions.T
            self.register_arrays(**{f"{modality}_root": root, f"{modality}_mean": context.mean(modality)})

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return (vectors - self.get_buffer(f"{input_modality}_mean")) @ self.get_buffer(f"{input_modality}_root")


class Truncate(Adapter):
    """Projection onto the directions in which texts vary most, around the texts' mean.

    A text-only stand-in for the shared axes of COMET (arXiv 2605.29628).
    """

    is_fitted = True

    def __init__(self, context: AdapterContext, directions: int = 64) -> None:
        """Fit; `directions` is the number of directions to keep, at most d."""
        super().__init__(context)
        _check_count("adapter.truncate.directions", directions, context.dim)
        self.register_arrays(
            basis=_find_leading_directions(context.covariance("text"), directions), mean=context.mean("text")
        )

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        mean, basis = self.get_buffer("mean"), self.get_buffer("basis")
        return mean + (vectors - mean) @ basis @ basis.T


class LowRank(Adapter):
    """Shift of texts along a few directions to the images' mean and scale, by a bounded length.

    The directions are the leading ones of the mean of both covariances. Along each, texts get the images' mean
    and standard deviation; a correction longer than `bound` is cut to it (a linear form of AnisoAlign's bounded
    correction, arXiv 2605.07825).
    """

    is_fitted = True
    data_regime = "T1"

    def __init__(self, context: AdapterContext, directions: int = 16, bound: float = 0.5) -> None:
        """Fit; `directions` is at most d, and `bound` is the longest correction of a unit vector."""
        super().__init__(context)
        _check_count("adapter.low_rank.directions", directions, context.dim)
        self.bound = bound
        text_covariance, image_covariance = context.covariance("text"), context.covariance("image")
        basis = _find_leading_directions((text_covariance + image_covariance) / 2, directions)
        text_std, image_std = (
            np.sqrt(np.diag(basis.T @ covariance @ basis).clip(0)) for covariance in (text_covariance, image_covariance)
        )
        scale = np.where(text_std > 0, image_std / text_std.clip(1e-12), 1.0)
        shift = basis.T @ (context.mean("image") - context.mean("text"))
        self.register_arrays(basis=basis, text_mean=context.mean("text"), shift=shift, scale=scale)

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        if input_modality == "image":
            return vectors
        basis = self.get_buffer("basis")
        coordinates = (vectors - self.get_buffer("text_mean")) @ basis
        correction = coordinates * (self.get_buffer("scale") - 1) + self.get_buffer("shift")
        length = correction.norm(dim=-1, keepdim=True)
        return vectors + (correction * (self.bound / length.clamp(min=self.bound))) @ basis.T


class Linear(Adapter):
    """Ridge regression from text to image vectors, fitted on pairs.

    CLOSE, arXiv 2211.09778, section on adapters, "linear".
    """

    is_fitted = True
    data_regime = "T4"

    def __init__(self, context: AdapterContext) -> None:
        super().__init__(context)
        weight, bias = context.regression()
        self.register_arrays(weight=weight, bias=bias)

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return vectors @ self.get_buffer("weight").T + self.get_buffer("bias") if input_modality == "text" else vectors


class Blind(Adapter):
    """Zero vectors, in training and test: the score that is possible without seeing the scene."""

    is_blind = True

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return torch.zeros_like(vectors)
