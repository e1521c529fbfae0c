"""How the clouds are shaped: directions that carry them, and what is left between them without their means.

Shapes: s scenes, d width, t texts.
"""

from dataclasses import dataclass

import numpy as np

from close_transfer.grouped_vectors import Floats, GroupedVectors


@dataclass(frozen=True)
class Moments:
    """Weighted mean, shape (d,), and covariance, shape (d, d), of a cloud."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, vectors: Floats, weights: Floats) -> "Moments":
        """Of vectors of shape (n, d) that count `weights` times each, shape (n,)."""
        total = weights.sum()
        mean = weights @ vectors / total
        centred = vectors - mean
        return cls(mean, (centred * weights[:, None]).T @ centred / total)

    @property
    def std(self) -> float:
        """Standard deviation per coordinate, the root of the mean variance; the unit of `noise=`."""
        return float(np.sqrt(np.trace(self.covariance) / len(self.mean)))

    @property
    def effective_dimension(self) -> float:
        """Participation ratio of the covariance's eigenvalues, (sum l)^2 / sum l^2; 1 to d."""
        square = np.square(self.covariance).sum()
        return float(np.trace(self.covariance) ** 2 / square) if square else 0.0

    def spectrum(self) -> Floats:
        """Share of the variance along each principal direction, falling; shape (d,)."""
        values = np.linalg.eigvalsh(self.covariance)[::-1].clip(0)
        return values / values.sum() if values.any() else values


def directions_for(spectrum: Floats, share: float) -> int:
    """How many leading directions carry that share of the variance."""
    return int(np.searchsorted(np.cumsum(spectrum), share * spectrum.sum() - 1e-12)) + 1


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def centred_distance(one: Moments, other: Moments) -> float:
    """2-Wasserstein distance of the two clouds as Gaussians with one mean (Dowson and Landau 1982, eq. 16).

    What is left of the gap when both means are taken away; 0 if the shapes agree, in units of length.
    """
    product = _root(one.covariance) @ _root(other.covariance)
    overlap = np.linalg.svd(product, compute_uv=False).sum()
    squared = np.trace(one.covariance) + np.trace(other.covariance) - 2 * overlap
    return float(np.sqrt(max(squared, 0.0)))


def spectral_metrics(vectors: GroupedVectors, scene_weights: Floats) -> dict[str, float]:
    """Shape of the clouds for one resample of the scenes.

    - `text_effective_dimension`, `text_std`, and the same of pictures.
    - `difference_*` of picture minus text, one for each text: `difference_length` (root mean square),
      `difference_mean_share` of its square that is the same for all pairs, and without that mean
      `difference_std` per coordinate, `difference_effective_directions`, `difference_directions_90`.
    - `centred_distance`: see there.

    Args:
        vectors: the clouds.
        scene_weights: how often each scene counts, shape (s,).
    """
    weights = scene_weights[vectors.scene_of_text]
    texts = Moments.of(vectors.texts, weights)
    told = {"text_effective_dimension": texts.effective_dimension, "text_std": texts.std}
    if vectors.images is None:
        return told
    images = Moments.of(vectors.images, scene_weights)
    difference = Moments.of(vectors.images[vectors.scene_of_text] - vectors.texts, weights)
    constant = float(np.square(difference.mean).sum())
    whole = constant + float(np.trace(difference.covariance))
    return told | {
        "image_effective_dimension": images.effective_dimension,
        "image_std": images.std,
        "difference_length": float(np.sqrt(whole)),
        "difference_mean_share": constant / whole if whole else 0.0,
        "difference_std": difference.std,
        "difference_effective_directions": difference.effective_dimension,
        "difference_directions_90": float(directions_for(difference.spectrum(), 0.9)),
        "centred_distance": centred_distance(texts, images),
    }
