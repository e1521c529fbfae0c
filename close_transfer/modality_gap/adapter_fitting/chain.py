"""Statistics along a chain of adapters: each fitted step sees vectors as the steps before it leave them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.modality_gap.vectors import GroupedVectors
from close_transfer.models.adapters import (
    ADAPTERS,
    AdapterChain,
    AdapterContext,
    Noise,
    Statistics,
    Steps,
    drop_noise_steps,
    get_statistics_prefix,
)

_AT_ONCE = 16_384  # scenes that are read from the disk at once


def normalize_scenes(scenes: SceneVectors) -> NDArray[np.float32]:
    """Return all scene vectors at unit length, shape (scenes, d).

    Raises:
        UserError: if an encoder gives several vectors per scene, which have no mean direction.
    """
    blocks = [scenes[np.arange(start, min(start + _AT_ONCE, len(scenes)))] for start in range(0, len(scenes), _AT_ONCE)]
    vectors = np.concatenate(blocks)
    if vectors.ndim != 2:
        raise UserError("fitted adapters need one vector per scene. Choose another encoder, or adapter=gaussian")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


@torch.inference_mode()
def apply_adapters(
    steps: Steps, statistics: Statistics, vectors: NDArray[np.floating], input_modality: InputModality
) -> Float64Array:
    """Apply these steps to clean unit vectors; shape (n, d) before and after.

    Raises:
        UserError: if a step needs what the statistics lack.
    """
    chain = AdapterChain(drop_noise_steps(steps), AdapterContext(vectors.shape[1], 0.0, statistics)).eval()
    blocks = (vectors[start : start + _AT_ONCE] for start in range(0, len(vectors), _AT_ONCE))
    adapted_blocks = [
        chain(torch.from_numpy(np.asarray(block, dtype=np.float32)), input_modality).numpy() for block in blocks
    ]
    return np.concatenate(adapted_blocks).astype(np.float64)


def apply_adapters_to_groups(steps: Steps, statistics: Statistics, vectors: GroupedVectors) -> GroupedVectors:
    """Apply these steps to grouped vectors. Raises as `apply_adapters`."""
    if not drop_noise_steps(steps):
        return vectors
    images = vectors.images
    return replace(
        vectors,
        texts=apply_adapters(steps, statistics, vectors.texts, "text"),
        images=None if images is None else apply_adapters(steps, statistics, images, "image"),
    )


def fit_in_sequence(steps: Steps, known: Statistics, measure: Callable[[Steps, Statistics], Statistics]) -> Statistics:
    """Measure statistics for every fitted step, each on vectors as the steps before leave them.

    Args:
        steps: a chain.
        known: existing statistics, which are kept.
        measure: maps the steps before, and the statistics that these need, to statistics of their output.

    Raises:
        UserError: if a step needs what cannot be measured.
    """
    arrays = dict(known.arrays)
    for number, step in enumerate(steps):
        if ADAPTERS[step["name"]].is_fitted:
            measured = measure(steps[:number], Statistics(arrays, known.facts))
            for name, array in measured.arrays.items():
                arrays.setdefault(get_statistics_prefix(steps, number) + name, array)
    return Statistics(arrays, known.facts)


def select_steps_before_noise(steps: Steps) -> list[dict[str, Any]]:
    """Return the steps that change vectors before the first noise of a chain; all of them if it adds none."""
    names = [step["name"] for step in steps]
    first = next((number for number, name in enumerate(names) if issubclass(ADAPTERS[name], Noise)), len(steps))
    return drop_noise_steps(steps[:first])
