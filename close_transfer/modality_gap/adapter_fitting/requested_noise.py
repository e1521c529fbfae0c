"""The noise that the settings of a run ask for."""

from typing import Literal

from close_transfer.config.choices import AutoNoise
from close_transfer.config.train import NOISE_ADAPTERS, TrainConfig
from close_transfer.models.noise_scale import NoiseScale


def resolve_requested_noise(
    config: TrainConfig, input_modality: Literal["text", "image"], dim: int
) -> float | AutoNoise:
    """The standard deviation per coordinate that training uses, for vectors `dim` wide, or who chooses it.

    What the user gave, else none when training on images or where no adapter adds noise, else the data's
    value for the task, else the task's own (the values of the paper's code).
    """
    if config.noise is not None:
        return config.noise
    if config.noise_variance is not None:
        return float(config.noise_variance**0.5)
    if config.noise_cosine is not None:
        return NoiseScale.from_cosine(config.noise_cosine, dim).std
    if input_modality == "image" or not NOISE_ADAPTERS.intersection(config.adapter.names):
        return 0.0
    return config.data.noise.get(config.task.name, config.task.noise)
