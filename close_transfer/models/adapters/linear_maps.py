"""What matrices can do: whitening, truncation, a bounded correction of few directions, a regression."""

import numpy as np
import torch

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.models.adapters.adapter import Adapter, AdapterContext, NoiseSource
from close_transfer.models.adapters.shifts import Vectors


def _leading(covariance: Float64Array, count: int) -> Float64Array:
    """The leading principal directions as columns, shape (d, count)."""
    _, directions = np.linalg.eigh(covariance)
    return directions[:, ::-1][:, :count]


def _check_count(name: str, count: int, dim: int) -> None:
    if not 1 <= count <= dim:
        raise UserError(f"{name}={count}: the vectors have {dim} directions; give 1 to {dim}")


class Whiten(Adapter):
    """Each modality without its mean and with the same variance in all directions (W-CLIP, arXiv 2505.06934),
    where isotropic noise is the right noise."""

    is_fitted = True
    data_regime = "T1"

    def __init__(self, fit: AdapterContext, shrinkage: float = 0.1) -> None:
        """`shrinkage`: this share of the mean variance stands in for each direction's own (Ledoit and Wolf
        2004); 0 blows up directions that carry nothing."""
        super().__init__(fit)
        if not 0 <= shrinkage <= 1:
            raise UserError(f"adapter.whiten.shrinkage={shrinkage}: give 0 to 1")
        for modality in ("text", "image"):
            values, directions = np.linalg.eigh(fit.covariance(modality))
            shrunk = (1 - shrinkage) * values.clip(0) + shrinkage * values.clip(0).mean()
            root = (directions / np.sqrt(shrunk.clip(1e-12))) @ directions.T
            self.keep(**{f"{modality}_root": root, f"{modality}_mean": fit.mean(modality)})

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return (vectors - self.get_buffer(f"{input_modality}_mean")) @ self.get_buffer(f"{input_modality}_root")


class Truncate(Adapter):
    """Keeps the directions in which texts vary most, around the texts' mean, and drops the others (a text-only
    stand-in for the shared axes of COMET, arXiv 2605.29628)."""

    is_fitted = True

    def __init__(self, fit: AdapterContext, directions: int = 64) -> None:
        """`directions` that are kept, at most d."""
        super().__init__(fit)
        _check_count("adapter.truncate.directions", directions, fit.dim)
        self.keep(basis=_leading(fit.covariance("text"), directions), mean=fit.mean("text"))

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        mean, basis = self.get_buffer("mean"), self.get_buffer("basis")
        return mean + (vectors - mean) @ basis @ basis.T


class LowRank(Adapter):
    """Moves texts along a few directions to the images' mean and scale there, by a bounded length.

    The directions are the leading ones of both covariances' mean. Along each, texts get the images' mean and
    standard deviation; a correction longer than `bound` is cut to it (a linear form of AnisoAlign's bounded
    correction, arXiv 2605.07825).
    """

    is_fitted = True
    data_regime = "T1"

    def __init__(self, fit: AdapterContext, directions: int = 16, bound: float = 0.5) -> None:
        """`directions` that are corrected, at most d; `bound`: the longest correction of a unit vector."""
        super().__init__(fit)
        _check_count("adapter.low_rank.directions", directions, fit.dim)
        self.bound = bound
        of_texts, of_images = fit.covariance("text"), fit.covariance("image")
        basis = _leading((of_texts + of_images) / 2, directions)
        text_std, image_std = (np.sqrt(np.diag(basis.T @ c @ basis).clip(0)) for c in (of_texts, of_images))
        scale = np.where(text_std > 0, image_std / text_std.clip(1e-12), 1.0)
        shift = basis.T @ (fit.mean("image") - fit.mean("text"))
        self.keep(basis=basis, text_mean=fit.mean("text"), shift=shift, scale=scale)

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        if input_modality == "image":
            return vectors
        basis = self.get_buffer("basis")
        along = (vectors - self.get_buffer("text_mean")) @ basis
        correction = along * (self.get_buffer("scale") - 1) + self.get_buffer("shift")
        length = correction.norm(dim=-1, keepdim=True)
        return vectors + (correction * (self.bound / length.clamp(min=self.bound))) @ basis.T


class Linear(Adapter):
    """Texts through the ridge regression from text to image that pairs gave (CLOSE, arXiv 2211.09778, section
    on adapters, "linear")."""

    is_fitted = True
    data_regime = "T4"

    def __init__(self, fit: AdapterContext) -> None:
        super().__init__(fit)
        weight, bias = fit.regression()
        self.keep(weight=weight, bias=bias)

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return vectors @ self.get_buffer("weight").T + self.get_buffer("bias") if input_modality == "text" else vectors


class Blind(Adapter):
    """All zeros, in training and test: what can be had without seeing the scene."""

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return torch.zeros_like(vectors)
