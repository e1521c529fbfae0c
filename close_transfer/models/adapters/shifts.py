"""Shifts and scales: what one mean or one scale can do about the gap."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from close_transfer.config.choices import InputModality
from close_transfer.models.adapters.adapter import Adapter, AdapterContext, NoiseSource

Vectors = Float[Tensor, "b *k d"]


class RandomShift(Adapter):
    """Adds one fixed random vector of a given length to texts: how much a wrong place costs (CLOSE, arXiv
    2211.09778, table on sensitivity to shifts). Images stay where they are."""

    def __init__(self, context: AdapterContext, length: float = 0.5, seed: int = 0) -> None:
        """`length` of the shift, beside unit vectors; `seed` of its direction."""
        super().__init__(context)
        drawn = np.random.default_rng(seed).standard_normal(context.dim)
        self.register_arrays(shift=length * drawn / np.linalg.norm(drawn))

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return vectors + self.get_buffer("shift") if input_modality == "text" else vectors


class MeanShift(Adapter):
    """Moves texts by the difference of the means, `scale` times; -1 moves them away from images (CLOSE,
    arXiv 2211.09778, table on sensitivity to shifts)."""

    is_fitted = True
    data_regime = "T1"

    def __init__(self, context: AdapterContext, scale: float = 1.0) -> None:
        """`scale`: 1 puts the mean text where the mean image is."""
        super().__init__(context)
        self.register_arrays(shift=scale * (context.mean("image") - context.mean("text")))

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return vectors + self.get_buffer("shift") if input_modality == "text" else vectors


class RemoveMean(Adapter):
    """Takes each modality's own mean away, in training and test (C3, arXiv 2401.08567, section 4)."""

    is_fitted = True
    data_regime = "T1"

    def __init__(self, context: AdapterContext) -> None:
        super().__init__(context)
        self.register_arrays(text_mean=context.mean("text"), image_mean=context.mean("image"))

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return vectors - self.get_buffer(f"{input_modality}_mean")


class Standardize(RemoveMean):
    """Mean 0 and standard deviation 1 in each coordinate, for each modality (I0T, arXiv 2412.14384)."""

    def __init__(self, context: AdapterContext, floor: float = 0.01) -> None:
        """`floor`: a coordinate's scale is at least this share of the mean scale, as dead coordinates would
        be blown up."""
        super().__init__(context)
        for modality in ("text", "image"):
            scale = np.sqrt(np.diag(context.covariance(modality)).clip(0))
            self.register_arrays(**{f"{modality}_scale": scale.clip(floor * scale.mean() or 1.0)})

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return super().forward(vectors, input_modality, noise) / self.get_buffer(f"{input_modality}_scale")


class MeanTrace(Adapter):
    """Texts get the images' mean and total variance: (x - m_text) sqrt(Tr_image / Tr_text) + m_image
    (ReAlign, arXiv 2602.07026)."""

    is_fitted = True
    data_regime = "T1"

    def __init__(self, context: AdapterContext) -> None:
        super().__init__(context)
        text_variance, image_variance = (np.trace(context.covariance(modality)) for modality in ("text", "image"))
        scale = np.sqrt(image_variance / text_variance) if text_variance > 0 else 1.0
        self.register_arrays(text_mean=context.mean("text"), image_mean=context.mean("image"), scale=np.array(scale))

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        if input_modality == "image":
            return vectors
        centred = vectors - self.get_buffer("text_mean")
        return centred * self.get_buffer("scale") + self.get_buffer("image_mean")
