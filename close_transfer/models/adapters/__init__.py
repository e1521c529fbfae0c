"""Adapters: steps between an encoder's vector and the mapper; the only place that adds noise.

Adapters follow each other in a chain, each on unit vectors:

    adapter=gaussian                     CLOSE
    adapter=[remove_mean,gaussian]       C3 (arXiv 2401.08567): subtract each modality's mean, then add noise
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from close_transfer.config.choices import InputModality
from close_transfer.models.adapters.adapter import Adapter, AdapterContext, NoiseSource
from close_transfer.models.adapters.linear_maps import Blind, Linear, LowRank, Truncate, Whiten
from close_transfer.models.adapters.noises import (
    CosineBounded,
    CovarianceNoise,
    Gaussian,
    Noise,
    RandomMagnitude,
    UniformBall,
)
from close_transfer.models.adapters.shifts import MeanShift, MeanTrace, RandomShift, RemoveMean, Standardize
from close_transfer.models.adapters.statistics import Statistics

__all__ = [
    "ADAPTERS", "Adapter", "AdapterChain", "AdapterContext", "Noise", "NoiseSource", "Statistics", "Steps", "drop_noise_steps",
    "get_statistics_prefix",
]  # fmt: skip

ADAPTERS: dict[str, type[Adapter]] = {
    "gaussian": Gaussian,
    "uniform_ball": UniformBall,
    "random_magnitude": RandomMagnitude,
    "cosine_bounded": CosineBounded,
    "covariance_noise": CovarianceNoise,
    "random_shift": RandomShift,
    "mean_shift": MeanShift,
    "remove_mean": RemoveMean,
    "standardize": Standardize,
    "mean_trace": MeanTrace,
    "whiten": Whiten,
    "truncate": Truncate,
    "low_rank": LowRank,
    "linear": Linear,
    "blind": Blind,
}


Steps = Sequence[Mapping[str, Any]]


def drop_noise_steps(steps: Steps) -> list[dict[str, Any]]:
    """Return the steps without those that add noise, which act in training only."""
    return [dict(step) for step in steps if not issubclass(ADAPTERS[step["name"]], Noise)]


def get_statistics_prefix(steps: Steps, number: int) -> str:
    """Return the key prefix of the statistics that are used to fit step `number`.

    Empty if no earlier step changes vectors at test time, else `NAME/` of the step.
    """
    return f"{steps[number]['name']}/" if drop_noise_steps(steps[:number]) else ""


class AdapterChain(nn.Module):
    """Adapters in sequence; vectors are scaled to unit length before the first and after each (zeros stay zeros).

    So `noise=` means the same at any place in the chain: per coordinate of a unit vector.

    Attributes:
        data_regime: data that the steps need: "T0" text, "T1" unpaired images too, "T4" pairs.
    """

    def __init__(self, steps: Steps, context: AdapterContext) -> None:
        """Build the chain from each adapter's `name` and settings, in order.

        Raises:
            UserError: if an adapter needs what the statistics lack.
        """
        super().__init__()
        adapters: dict[str, Adapter] = {}
        for number, step in enumerate(steps):
            settings = {key: value for key, value in step.items() if key != "name"}
            adapters[step["name"]] = ADAPTERS[step["name"]](
                replace(context, stage=get_statistics_prefix(steps, number)), **settings
            )
        self.steps = nn.ModuleDict(adapters)
        self.data_regime = max((step.data_regime for step in adapters.values()), default="T0")

    @property
    def noise_std(self) -> float:
        """Return the standard deviation per coordinate of the training noise; 0 if no step adds any."""
        return next((step.std for step in self.steps.values() if isinstance(step, Noise)), 0.0)

    def forward(
        self, vectors: Float[Tensor, "b *k d"], input_modality: InputModality, noise: NoiseSource | None = None
    ) -> Float[Tensor, "b *k d"]:
        """Adapt vectors.

        Args:
            vectors: vectors that need not have unit length; b examples, optional k vectors per example, width d.
            input_modality: "text" or "image", the modality of the vectors.
            noise: source of random numbers. Without it, and in `eval()` mode, no noise is added.
        """
        vectors = F.normalize(vectors, dim=-1)
        for step in self.steps.values():
            vectors = F.normalize(step(vectors, input_modality, noise), dim=-1)
        return vectors
