"""Shape of the clouds: principal directions, and the distance that is left once the means are removed.

Shapes: s scenes, d width, t texts.
"""

from dataclasses import dataclass

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.modality_gap.vectors import GroupedVectors


@dataclass(frozen=True)
class Moments:
    """Weighted mean, shape (d,), and covariance, shape (d, d), of a cloud."""

    mean: Float64Array
    covariance: Float64Array

    @classmethod
    def from_rows(cls, vectors: Float64Array, weights: Float64Array) -> "Moments":
        """Compute the moments of vectors, shape (n, d), with weights, shape (n,)."""
        total = weights.sum()
        mean = weights @ vectors / total
        centred = vectors - mean
        return cls(mean, (centred * weights[:, None]).T @ centred / total)

    @property
    def std(self) -> float:
        """Return the standard deviation per coordinate, the root of the mean variance; the unit of `noise=`."""
        return float(np.sqrt(np.trace(self.covariance) / len(self.mean)))

    @property
    def effective_dimension(self) -> float:
        """Return the participation ratio of the covariance's eigenvalues, (sum l)^2 / sum l^2; 1 to d."""
        square = np.square(self.covariance).sum()
        return float(np.trace(self.covariance) ** 2 / square) if square else 0.0

    def spectrum(self) -> Float64Array:
        """Return the share of the variance along each principal direction, in descending order; shape (d,)."""
        values = np.linalg.eigvalsh(self.covariance)[::-1].clip(0)
        return values / values.sum() if values.any() else values


def find_directions(spectrum: Float64Array, share: float) -> int:
    """Count the leading directions that carry that share of the variance."""
    return int(np.searchsorted(np.cumsum(spectrum), share * spectrum.sum() - 1e-12)) + 1


def factorize(vectors: Float64Array, weights: Float64Array) -> Float64Array:
    """Return R, at most d rows, with R'R the covariance of vectors (n, d) with weights, shape (n,)."""
    total = weights.sum()
    rows: Float64Array = (vectors - weights @ vectors / total) * np.sqrt(weights / total)[:, None]
    if len(rows) > rows.shape[1]:
        rows = np.asarray(np.linalg.qr(rows, mode="r"))
    return rows


def measure_overlap(first: Float64Array, second: Float64Array) -> float:
    """Return tr (A^1/2 B A^1/2)^1/2 of the covariances A, B with these factors; tr A if A = B.

    Two Gaussians with one mean have the 2-Wasserstein distance sqrt(tr A + tr B - 2 overlap)
    (Dowson and Landau 1982, eq. 16).
    """
    return float(np.linalg.svd(first @ second.T, compute_uv=False).sum())


def measure_centred_squared(
    vectors: GroupedVectors, scene_weights: Float64Array, num_splits: int, rng: np.random.Generator
) -> float:
    """Return the squared distance that is left of the gap without both means, without its bias.

    W is the 2-Wasserstein distance of two clouds as Gaussians with one mean. With few scenes for the width, W
    is large even between two samples of one distribution. So each split of the scenes at random into halves
    1 and 2, one text per scene, gives

        (W(texts 1, images 2)^2 + W(texts 2, images 1)^2 - W(texts 1, texts 2)^2 - W(images 1, images 2)^2) / 2,

    and the mean over splits is returned. All four terms compare different scenes by halves of the same size. If
    texts and images follow one distribution, the terms' expectations agree and that of the whole is 0 for any
    number of scenes and any width; single values may be negative. Otherwise it approaches the distance of the
    distributions as scenes are added, mostly from below.

    Args:
        vectors: with images.
        scene_weights: count of each scene, shape (s,); all copies of a scene are in one half.
        num_splits: at least 1.
        rng: draws the splits and the text of each scene.
    """
    assert vectors.images is not None
    first_texts = np.searchsorted(vectors.scene_of_text, np.arange(vectors.num_scenes))
    counts = np.bincount(vectors.scene_of_text)
    scenes = np.flatnonzero(scene_weights)
    if len(scenes) < 2:  # a resample of one scene has no spread
        return 0.0
    squares = []
    for _ in range(num_splits):
        texts = vectors.texts[first_texts + rng.integers(counts)]
        halves = np.array_split(rng.permutation(scenes), 2)
        text_factors = [factorize(texts[half], scene_weights[half]) for half in halves]
        image_factors = [factorize(vectors.images[half], scene_weights[half]) for half in halves]
        # The traces of the four distances cancel out.
        within = measure_overlap(*text_factors) + measure_overlap(*image_factors)
        squares.append(
            within
            - measure_overlap(text_factors[0], image_factors[1])
            - measure_overlap(text_factors[1], image_factors[0])
        )
    return float(np.mean(squares))


def take_signed_root(squared: float) -> float:
    """Return the square root of the absolute value, with the sign."""
    return float(np.copysign(np.sqrt(abs(squared)), squared))


def compute_image_spectral_metrics(images: Float64Array, scene_weights: Float64Array) -> dict[str, float]:
    """Return `image_effective_dimension` and `image_std` for one resample of the scenes.

    Args:
        images: unit vectors, shape (s, d).
        scene_weights: count of each scene, shape (s,).
    """
    moments = Moments.from_rows(images, scene_weights)
    return {"image_effective_dimension": moments.effective_dimension, "image_std": moments.std}


def compute_spectral_metrics(vectors: GroupedVectors, scene_weights: Float64Array) -> dict[str, float]:
    """Return metrics of the clouds' shape for one resample of the scenes.

    - `text_effective_dimension`, `text_std`, and the same of images.
    - `difference_*` of image minus text, one for each text: `difference_length` (root mean square),
      `difference_mean_share` of its square that is the same for all pairs, and without that mean
      `difference_std` per coordinate, `difference_effective_directions`, `difference_directions_90`.

    Args:
        vectors: the clouds.
        scene_weights: count of each scene, shape (s,).
    """
    weights = scene_weights[vectors.scene_of_text]
    texts = Moments.from_rows(vectors.texts, weights)
    text_metrics = {"text_effective_dimension": texts.effective_dimension, "text_std": texts.std}
    if vectors.images is None:
        return text_metrics
    difference = Moments.from_rows(vectors.images[vectors.scene_of_text] - vectors.texts, weights)
    constant_part = float(np.square(difference.mean).sum())
    squared_length = constant_part + float(np.trace(difference.covariance))
    return (
        text_metrics
        | compute_image_spectral_metrics(vectors.images, scene_weights)
        | {
            "difference_length": float(np.sqrt(squared_length)),
            "difference_mean_share": constant_part / squared_length if squared_length else 0.0,
            "difference_std": difference.std,
            "difference_effective_directions": difference.effective_dimension,
            "difference_directions_90": float(find_directions(difference.spectrum(), 0.9)),
        }
    )
