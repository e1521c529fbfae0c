"""compute_statistics.py: compute statistics of texts, unpaired images or pairs, which training reads."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.compute_statistics import ComputeStatisticsConfig
from close_transfer.core.arrays import FloatArray, normalize_rows
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, fingerprint_examples, get_scene_key, sample_scenes
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.build import build_encoder
from close_transfer.encoders.embeddings import encode_image_scenes, encode_text_scenes
from close_transfer.evaluation.provenance import get_git_commit, get_package_versions
from close_transfer.modality_gap.adapter_fitting.chain import (
    apply_adapters,
    apply_adapters_to_groups,
    fit_in_sequence,
    normalize_scenes,
    select_steps_before_noise,
)
from close_transfer.modality_gap.noise_selection import NoiseChoice, add_sensitivity, choose_paired, choose_unpaired
from close_transfer.modality_gap.vectors import GroupedVectors
from close_transfer.models.adapters import Statistics, Steps, drop_noise_steps
from close_transfer.models.adapters.statistics import measure_statistics
from close_transfer.models.device import pick_device
from close_transfer.tasks import get_task
from close_transfer.tasks.loading import load_task_examples


@dataclass(frozen=True)
class _FittingData:
    """Vectors that the statistics are computed from.

    Attributes:
        texts: unit vectors of the inputs that the task trains on, shape (n, d).
        images: unit vectors of images, shape (m, d); if they are paired, row i belongs to text i.
        inputs: examples that the texts come from, one per text.
        num_scenes, num_images: number of scenes with text, and of different images.
    """

    texts: FloatArray
    images: FloatArray | None
    inputs: Sequence[Example]
    num_scenes: int
    num_images: int


def _encode_scenes(config: ComputeStatisticsConfig, encoder: AnyEncoder) -> _FittingData:
    """Encode texts and images; unpaired images come from another half of the scenes than the texts, by the seed."""
    examples = load_task_examples(config.task, config.data, config.split).examples
    scenes = sample_scenes(examples, config.max_scenes, config.seed)
    with_text, with_image = scenes, scenes
    if config.images and not config.pairs:
        order = np.random.default_rng(config.seed).permutation(len(scenes))
        with_text, with_image = ([scenes[i] for i in np.sort(half)] for half in np.array_split(order, 2))
    if len(with_text) < 2:
        raise UserError(
            f"split={config.split}: {len(scenes)} scenes are too few for statistics. Choose a larger split or other data"
        )
    keys = {get_scene_key(scene) for scene in with_text}
    prepared = get_task(config.task)().prepare_for_training([e for e in examples if get_scene_key(e) in keys]).examples
    texts = normalize_scenes(encode_text_scenes(encoder, prepared, config.embedding_cache))
    images = None
    if config.pairs:
        images = normalize_scenes(encode_image_scenes(encoder, prepared, config.embedding_cache))
    elif config.images:
        images = normalize_scenes(encode_image_scenes(encoder, with_image, config.embedding_cache))
    return _FittingData(texts, images, prepared, len(with_text), 0 if images is None else len(with_image))


def _measure_chain(
    config: ComputeStatisticsConfig, fitting_data: _FittingData, steps: Steps, facts: dict[str, Any]
) -> Statistics:
    """Measure statistics of the encoder's vectors, and of the vectors that each fitted adapter receives."""

    def measure(before: Steps, known: Statistics) -> Statistics:
        texts, images = fitting_data.texts, fitting_data.images
        if drop_noise_steps(before):
            texts = apply_adapters(before, known, texts, "text")
            images = None if images is None else apply_adapters(before, known, images, "image")
        if config.pairs:
            return measure_statistics(texts, paired=images, ridge=config.ridge)
        return measure_statistics(texts, images)

    first = Statistics(measure([], Statistics({})).arrays, facts)
    return fit_in_sequence(steps, first, measure)


def _choose_noise(
    config: ComputeStatisticsConfig, fitting_data: _FittingData, steps: Steps, fitted: Statistics
) -> dict[str, NoiseChoice]:
    """Return the noise that images choose, by "paired" or "unpaired"; empty without images.

    Raises:
        UserError: if the rule cannot choose.
    """
    if fitting_data.images is None:
        return {}
    before = select_steps_before_noise(steps)
    vectors = apply_adapters_to_groups(before, fitted, _group_rows(fitting_data, config.pairs))
    if config.pairs:
        return {"paired": add_sensitivity(choose_paired(vectors, config.seed), vectors, config.seed)}
    images = (
        apply_adapters(before, fitted, fitting_data.images, "image") if before else normalize_rows(fitting_data.images)
    )
    return {"unpaired": add_sensitivity(choose_unpaired(vectors, images, config.seed), vectors, config.seed)}


def _group_rows(fitting_data: _FittingData, paired: bool) -> GroupedVectors:
    """Group the inputs by scene, each once: several questions about an image share one input."""
    first: dict[str, dict[tuple[str, ...], int]] = {}
    for row, example in enumerate(fitting_data.inputs):
        first.setdefault(get_scene_key(example), {}).setdefault(example.texts, row)
    rows = np.array([row for rows_of_scene in first.values() for row in rows_of_scene.values()])
    scenes = np.repeat(np.arange(len(first)), [len(rows_of_scene) for rows_of_scene in first.values()])
    images = None
    if paired and fitting_data.images is not None:
        images = normalize_rows(
            fitting_data.images[[next(iter(rows_of_scene.values())) for rows_of_scene in first.values()]]
        )
    return GroupedVectors(normalize_rows(fitting_data.texts[rows]), scenes, images)


def compute_statistics(config: ComputeStatisticsConfig) -> tuple[Statistics, list[str]]:
    """Encode, measure, and save the statistics.

    Returns:
        The statistics, and lines for the terminal about the chosen noise.

    Raises:
        UserError: if the user can correct the cause.
    """
    encoder = build_encoder(config.clip, config.data, pick_device(config.device), texts_needed=True)
    fitting_data = _encode_scenes(config, encoder)
    steps = config.adapter.list_steps()
    facts: dict[str, Any] = {
        "data": config.data.name,
        "split": config.split,
        "num_texts": len(fitting_data.texts),
        "num_scenes": fitting_data.num_scenes,
        "num_images": fitting_data.num_images,
        "paired": config.pairs,
        "chain": drop_noise_steps(steps),
        "noise_behind": select_steps_before_noise(steps),
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
        "data_fingerprint": fingerprint_examples(fitting_data.inputs),
        "config": config.model_dump(mode="json"),
        "versions": get_package_versions(),
        "git_commit": get_git_commit(),
    }
    fitted = _measure_chain(config, fitting_data, steps, facts)
    noise: dict[str, Any] = {}
    lines = []
    try:
        for how, choice in _choose_noise(config, fitting_data, steps, fitted).items():
            noise[how] = asdict(choice)
            description = {f"noise=auto-{how}": f"{choice.std:.4g}", **choice.lines()}
            lines += [f"  {name + ':':<21} {value}" for name, value in description.items()]
    except UserError as error:  # adapters can use the statistics all the same
        noise["paired" if config.pairs else "unpaired"] = {"refused": str(error)}
        lines.append(f"  note: {error}")
    statistics = Statistics(fitted.arrays, facts | {"noise": noise})
    statistics.save(Path(config.output))
    return statistics, lines


def main(config: ComputeStatisticsConfig) -> None:
    """Compute statistics, and print their sources and the noise that they choose."""
    statistics, lines = compute_statistics(config)
    facts = statistics.facts
    show(f"{facts['num_texts']:,} texts, {facts['num_images']:,} images{' of the same scenes' * facts['paired']}")
    show(f"regime:     {statistics.data_regime}")
    show(f"statistics: {config.output} ({', '.join(sorted(statistics.arrays))})")
    show("\n".join(lines))
