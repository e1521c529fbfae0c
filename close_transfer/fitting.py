"""Statistics for adapters: fitted on texts, unpaired pictures or pairs, and met again by training."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from close_transfer.adapters import ADAPTERS
from close_transfer.adapters.statistics import Statistics, measure_statistics, moments
from close_transfer.config import FitConfig, TrainConfig
from close_transfer.embeddings import SceneVectors, image_scenes, text_scenes
from close_transfer.encoders import AnyEncoder
from close_transfer.errors import UserError
from close_transfer.examples import data_fingerprint, drawn
from close_transfer.parts import build_encoder, pick_device
from close_transfer.provenance import git_commit, package_versions
from close_transfer.runs import Regime
from close_transfer.sources import load_examples

_AT_ONCE = 16_384
_FAR = 0.3  # of the training texts' own spread


def unit_vectors(scenes: SceneVectors) -> NDArray[np.float32]:
    """All scene vectors at unit length, shape (scenes, d).

    Raises:
        UserError: if an encoder gives several vectors a scene, of which no mean direction can be told.
    """
    blocks = [scenes[np.arange(start, min(start + _AT_ONCE, len(scenes)))] for start in range(0, len(scenes), _AT_ONCE)]
    vectors = np.concatenate(blocks)
    if vectors.ndim != 2:
        raise UserError("fitted adapters need one vector a scene; choose another encoder, or adapter=gaussian")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def statistics_for(config: TrainConfig, encoder: AnyEncoder, scenes: SceneVectors, regime: Regime) -> Statistics:
    """What the chain's adapters are fitted by: the given statistics, and what training's own vectors tell.

    Raises:
        UserError: if the given statistics are missing, damaged, of another encoder, or read by no adapter; and if
            an adapter would be fitted on other vectors than it gets.
    """
    fitted = [name for name in config.adapter.names if ADAPTERS[name].is_fitted]
    if not fitted:
        if config.statistics is not None:
            raise UserError(
                f"statistics={config.statistics}: adapter={','.join(config.adapter.names)} reads none; leave it out, or "
                "put an adapter that does first, such as adapter=[remove_mean,gaussian]"
            )
        return Statistics({})
    if fitted != [config.adapter.names[0]]:
        raise UserError(
            f"adapter=[{','.join(config.adapter.names)}]: {' and '.join(fitted)} would be fitted on vectors as the encoder "
            "gives them and not on what the adapters before make of them; use one fitted adapter, and put it first"
        )
    modality = "text" if regime == "text" else "image"
    mean, covariance = moments(unit_vectors(scenes))
    own = {f"{modality}_mean": mean, f"{modality}_covariance": covariance}
    if config.statistics is None:
        return Statistics(own)
    given = Statistics.load(Path(config.statistics), encoder.dim)
    fitted_with = given.facts.get("encoder_fingerprint")
    if fitted_with not in (None, encoder.fingerprint):
        raise UserError(
            f"statistics={config.statistics} were fitted on vectors of {given.facts.get('encoder')} with other weights "
            f"than {encoder.name}; fit them with this encoder"
        )
    if modality == "text":
        _warn_of_another_domain(config.statistics, given, own, len(scenes))
    return Statistics({**own, **given.arrays}, given.facts)


def domain_distance(given: Statistics, own: Mapping[str, Any], num_own: int) -> float:
    """How far the mean text of statistics is from training's, in units of the training texts' spread.

    Two samples of one domain differ by 1 / n of both in the square of this; that is taken off, so the same
    domain gives about 0 however few texts there were.
    """
    squared = float(np.square(given.array("text_mean") - own["text_mean"]).sum() / np.trace(own["text_covariance"]))
    by_chance = 1 / max(1, int(given.facts.get("num_texts", num_own))) + 1 / num_own
    return max(0.0, squared - by_chance) ** 0.5


def _warn_of_another_domain(name: str, given: Statistics, own: Mapping[str, Any], num_own: int) -> None:
    """Says so where the texts of the statistics lie elsewhere than those of training."""
    if "text_mean" in given.arrays and (distance := domain_distance(given, own, num_own)) > _FAR:
        print(
            f"  warning: the texts that statistics={name} were fitted on lie elsewhere: their mean is {distance:.2f} "
            "of the training texts' spread away (of one domain: near 0); such statistics can hurt, so compare with "
            "adapter=gaussian",
            file=sys.stderr,
        )


def fit_adapter(config: FitConfig) -> Statistics:
    """Encodes what is missing, measures and saves.

    Unpaired pictures (`pairs=false`) are those of other scenes than the texts: the examples are split in two
    halves by the seed, so that no picture's own text is seen.

    Raises:
        UserError: for whatever the user can mend.
    """
    encoder = build_encoder(config.clip, config.data, pick_device(config.device), texts_needed=True)
    examples = drawn(load_examples(config.data, config.task, config.split).examples, config.max_scenes, config.seed)
    told, seen = examples, examples
    if config.images and not config.pairs:
        order = np.random.default_rng(config.seed).permutation(len(examples))
        told, seen = ([examples[i] for i in np.sort(half)] for half in np.array_split(order, 2))
    if len(told) < 2:
        raise UserError(f"split={config.split}: {len(examples)} scenes; statistics need more")
    texts = unit_vectors(text_scenes(encoder, told, config.store))
    images = unit_vectors(image_scenes(encoder, seen, config.store)) if config.images or config.pairs else None
    facts = {
        "data": config.data.name,
        "split": config.split,
        "num_texts": len(texts),
        "num_images": 0 if images is None else len(images),
        "paired": config.pairs,
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
        "data_fingerprint": data_fingerprint(examples),
        "config": config.model_dump(mode="json"),
        "versions": package_versions(),
        "git_commit": git_commit(),
    }
    if config.pairs:
        statistics = measure_statistics(texts, paired=images, ridge=config.ridge, facts=facts)
    else:
        statistics = measure_statistics(texts, images, facts=facts)
    statistics.save(Path(config.output))
    return statistics
