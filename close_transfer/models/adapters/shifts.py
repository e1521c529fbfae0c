"""Shifts and scales: adapters by one mean or one scale per modality."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from close_transfer.config.choices import InputModality
from close_transfer.models.adapters.adapter import Adapter, AdapterContext, NoiseSource

Vectors = Float[Tensor, "b *k d"]


class RandomShift(Adapter):
    """One fixed random vector of a given length, added to texts; images stay as they are.

    It shows the cost of a wrong position (CLOSE, arXiv 2211.09778, table on sensitivity to shifts).
    """

    def __init__(self, context: AdapterContext, length: float = 0.5, seed: int = 0) -> None:
        """Draw the shift: `length` relative to unit vectors, `seed` of its direction."""
        super().__init__(context)
        drawn = np.random.default_rng(seed).standard_normal(context.dim)
        self.register_arrays(shift=length * drawn / np.linalg.norm(drawn))

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return vectors + self.get_buffer("shift") if input_modality == "text" else vectors


class MeanShift(Adapter):
    """Shift of texts by the difference of the means, times `scale`; -1 moves them away from images.

    CLOSE, arXiv 2211.09778, table on sensitivity to shifts.
    """

    is_fitted = True
    data_regime = "T1"

    def __init__(self, context: AdapterContext, scale: float = 1.0) -> None:
        """Fit; `scale` 1 moves the mean text to the mean image."""
        super().__init__(context)
        self.register_arrays(shift=scale * (context.mean("image") - context.mean("text")))

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return vectors + self.get_buffer("shift") if input_modality == "text" else vectors


class RemoveMean(Adapter):
    """Subtraction of each modality's own mean, in training and test (C3, arXiv 2401.08567, section 4)."""

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
        """Fit; a coordinate's scale is at least the share `floor` of the mean scale, so that dead ones stay small."""
        super().__init__(context)
        for modality in ("text", "image"):
            scale = np.sqrt(np.diag(context.covariance(modality)).clip(0))
            self.register_arrays(**{f"{modality}_scale": scale.clip(floor * scale.mean() or 1.0)})

    def forward(self, vectors: Vectors, input_modality: InputModality, noise: NoiseSource | None) -> Vectors:
        return super().forward(vectors, input_modality, noise) / self.get_buffer(f"{input_modality}_scale")


class MeanTrace(Adapter):
    """Texts with the images' mean and total variance: (x - m_text) sqrt(Tr_image / Tr_text) + m_image.

    ReAlign, arXiv 2602.07026.
    """

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
