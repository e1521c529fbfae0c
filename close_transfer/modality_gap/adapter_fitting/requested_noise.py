"""The noise that a run's settings request, and the same settings without it."""

from typing import Literal

from close_transfer.config.choices import AutoNoise
from close_transfer.config.train import TrainConfig
from close_transfer.models.adapters import ADAPTERS
from close_transfer.models.noise_scale import NoiseScale


def resolve_requested_noise(
    config: TrainConfig, input_modality: Literal["text", "image"], dim: int
) -> float | AutoNoise:
    """Return the training noise as a standard deviation per coordinate for vectors of width `dim`, or a rule's name.

    In this order: the user's value; 0 when training on images or if no adapter adds noise; the data's
    value for the task; the task's own (the values of the paper's code).
    """
    if config.noise is not None:
        return config.noise
    if config.noise_variance is not None:
        return float(config.noise_variance**0.5)
    if config.noise_cosine is not None:
        return NoiseScale.from_cosine(config.noise_cosine, dim).std
    if input_modality == "image" or not config.adapter.noise_names:
        return 0.0
    return config.data.noise.get(config.task.name, config.task.noise)


def remove_noise(config: TrainConfig) -> TrainConfig:
    """Return the same run without noise, and without statistics if only the noise was chosen by them."""
    chosen = config.noise in ("auto-unpaired", "auto-paired")
    only_noise = chosen and not any(ADAPTERS[name].is_fitted for name in config.adapter.names)
    no_noise = {"noise": 0.0, "noise_rule": None, "noise_variance": None, "noise_cosine": None}
    return config.model_copy(update=no_noise | ({"statistics": None} if only_noise else {}))
