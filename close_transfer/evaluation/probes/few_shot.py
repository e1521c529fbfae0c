"""Few-shot linear probe: ridge regression in closed form on a few images per class, as in big_vision.

Features are standardised by the mean and standard deviation of the few images, and get a constant feature for the
bias. The targets are 1 for the class and -1 for the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from close_transfer.core.arrays import Float32Array, Float64Array, IntArray
from close_transfer.core.errors import UserError

# Large, so that the ridge hardly shrinks the bias (big_vision).
_BIAS_FEATURE = 100.0
# Added to standard deviations, so that a constant feature does not divide by zero (big_vision).
SMALLEST_STD = 1e-5


@dataclass(frozen=True)
class RidgeProbe:
    """Linear classifier of vectors.

    Attributes:
        mean, std: statistics of the training vectors, shape (dim,).
        weights: weights of the standardised features and the bias feature, shape (dim + 1, classes).
    """

    mean: Float64Array
    std: Float64Array
    weights: Float64Array

    def predict(self, vectors: Float32Array) -> IntArray:
        """Return the class of each vector, shape (vectors,)."""
        classes: IntArray = (_standardize(vectors, self.mean, self.std) @ self.weights).argmax(axis=1)
        return classes


def _standardize(vectors: Float32Array, mean: Float64Array, std: Float64Array) -> Float64Array:
    features: Float64Array = (vectors.astype(np.float64) - mean) / std
    return np.pad(features, ((0, 0), (0, 1)), constant_values=_BIAS_FEATURE)


def fit_ridge(vectors: Float32Array, labels: IntArray, num_classes: int, l2: float) -> RidgeProbe:
    """Fit the probe: minimise the squared error plus `l2` times the squared weights.

    Args:
        vectors: training vectors, shape (images, dim).
        labels: class of each, shape (images,).
        num_classes: number of classes; some may have no image.
        l2: strength of the ridge.

    Raises:
        UserError: if the ridge is too weak for these vectors to have one solution.
    """
    double = vectors.astype(np.float64)
    mean, std = double.mean(axis=0), double.std(axis=0) + SMALLEST_STD
    features = _standardize(vectors, mean, std)
    targets = 2.0 * np.eye(num_classes)[labels] - 1.0
    num_images, width = features.shape
    # The system of the smaller side; both have the same solution.
    try:
        if num_images >= width:
            weights = np.linalg.solve(features.T @ features + l2 * np.eye(width), features.T @ targets)
        else:
            weights = features.T @ np.linalg.solve(features @ features.T + l2 * np.eye(num_images), targets)
    except np.linalg.LinAlgError:
        raise UserError(
            f"few_shot.l2={l2}: is too small for these vectors: different probes fit them equally well. Give a larger number, such as "
            "few_shot.l2=1024"
        ) from None
    return RidgeProbe(np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64), weights.astype(np.float64))


def draw_shots(labels: IntArray, shots: int, seed: int) -> IntArray:
    """Draw `shots` images of each class, or all if it has fewer; return their rows in order, shape (images,).

    Fewer shots with the same seed are a subset of more, so that a curve over shots has less chance in it.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:shots] for label in range(int(labels.max()) + 1)]
    rows: IntArray = np.sort(np.concatenate(drawn))
    return rows


def predict_few_shot(
    training: Float32Array,
    labels: IntArray,
    testing: Float32Array,
    num_classes: int,
    shots: int,
    seeds: Sequence[int],
    l2: float,
) -> IntArray:
    """Return the predicted class of each test vector by a probe per seed, shape (seeds, test vectors)."""
    predictions = []
    for seed in seeds:
        rows = draw_shots(labels, shots, seed)
        predictions.append(fit_ridge(training[rows], labels[rows], num_classes, l2).predict(testing))
    return np.stack(predictions)
