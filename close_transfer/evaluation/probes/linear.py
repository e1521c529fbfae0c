"""Linear probe: multinomial logistic regression on all training images, by L-BFGS."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from close_transfer.core.arrays import Float32Array, IntArray
from close_transfer.evaluation.probes.few_shot import SMALLEST_STD

_HELD_OUT_SHARE = 0.2  # of the training images, to choose the strength of the penalty
_MAX_ITERATIONS = 500


@dataclass(frozen=True)
class LinearPrediction:
    """Predictions of the linear probe.

    Attributes:
        classes: predicted class of each test vector, shape (test vectors,).
        l2: chosen strength of the penalty.
    """

    classes: IntArray
    l2: float


def _standardize(vectors: Float32Array, statistics: Float32Array, device: str) -> Tensor:
    mean, std = statistics.mean(axis=0, dtype=np.float64), statistics.std(axis=0, dtype=np.float64) + SMALLEST_STD
    return torch.from_numpy((vectors - mean) / std).to(device)


def fit_logistic(features: Tensor, labels: Tensor, num_classes: int, l2: float) -> tuple[Tensor, Tensor]:
    """Minimise the mean cross-entropy plus half of `l2` times the squared weights; the bias has no penalty.

    Args:
        features: standardised features, shape (images, dim), float64.
        labels: class of each image, shape (images,).
        num_classes: number of classes.
        l2: strength of the penalty.

    Returns:
        Weights of shape (dim, classes) and bias of shape (classes,).
    """
    weights = torch.zeros(features.shape[1], num_classes, dtype=features.dtype, device=features.device)
    bias = torch.zeros(num_classes, dtype=features.dtype, device=features.device)
    parameters = [weights.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=_MAX_ITERATIONS,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,  # so that the gradient decides when to stop
        line_search_fn="strong_wolfe",
    )

    def compute_loss() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weights + bias, labels) + l2 / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(compute_loss)
    return weights.detach(), bias.detach()


def predict_linear(
    training: Float32Array,
    labels: IntArray,
    testing: Float32Array,
    num_classes: int,
    strengths: Sequence[float],
    seed: int,
    device: str,
) -> LinearPrediction:
    """Fit the probe and predict the test vectors.

    The strength with the best accuracy on a held-out part of the training images is chosen, the larger one of equal
    strengths; then the probe is fitted to all training images.

    Args:
        training, labels: training vectors, shape (images, dim), and their classes.
        testing: test vectors, shape (test images, dim).
        num_classes: number of classes.
        strengths: strengths of the penalty to choose from.
        seed: seed of the held-out part.
        device: torch device.
    """
    order = np.random.default_rng(seed).permutation(len(training))
    held_out, kept = np.split(order, [max(1, round(_HELD_OUT_SHARE * len(order)))])
    targets = torch.from_numpy(labels).to(device)
    features = _standardize(training, training[kept], device)
    accuracies = {}
    for l2 in strengths if len(strengths) > 1 else ():
        weights, bias = fit_logistic(features[kept], targets[kept], num_classes, l2)
        chosen = (features[held_out] @ weights + bias).argmax(dim=1)
        accuracies[l2] = (chosen == targets[held_out]).double().mean().item()
    best = max(accuracies, key=lambda l2: (accuracies[l2], l2), default=strengths[0])
    weights, bias = fit_logistic(_standardize(training, training, device), targets, num_classes, best)
    classes = (_standardize(testing, training, device) @ weights + bias).argmax(dim=1).cpu().numpy()
    return LinearPrediction(classes, best)
