"""What training fits when it begins: statistics of its own vectors, and the scale of its noise."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from close_transfer.config.choices import InputModality
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Example, get_scene_key, group_by_scene, sample
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.modality_gap.adapter_fitting.chain import (
    apply_adapters,
    apply_adapters_to_groups,
    fit_in_sequence,
    normalize_scenes,
    select_steps_before_noise,
)
from close_transfer.modality_gap.adapter_fitting.requested_noise import resolve_requested_noise
from close_transfer.modality_gap.noise_selection import NoiseChoice, choose_from_texts
from close_transfer.modality_gap.vectors import encode_groups
from close_transfer.models.adapters import ADAPTERS, Statistics, Steps, drop_noise_steps, get_statistics_prefix
from close_transfer.models.adapters.statistics import compute_moments
from close_transfer.models.noise_scale import NoiseScale

_logger = logging.getLogger(__name__)

_FAR = 0.3  # of the training texts' own spread
_MOST_SCENES = 5_000  # that noise is chosen by
_SEED = 0  # of that draw: the same data give the same noise, whatever the run's seed

_CHOSEN_BY = {"auto-unpaired": "unpaired", "auto-paired": "paired"}


def load_or_compute_statistics(
    config: TrainConfig,
    encoder: AnyEncoder,
    scenes: SceneVectors,
    input_modality: InputModality,
    examples: Sequence[Example],
) -> Statistics:
    """What the chain's adapters are fitted by: the given statistics, and what training's own vectors tell.

    Args:
        config: a run's.
        encoder: whose vectors they are of.
        scenes: training's inputs.
        input_modality: what is trained on.
        examples: the training scenes that the inputs are of.

    Raises:
        UserError: if the given statistics are missing, damaged, of another encoder or of another chain, or are read
            by nothing; and if an adapter needs what they lack.
    """
    steps = config.adapter.steps()
    given_statistics = _load_given_statistics(config, encoder, steps)
    if not given_statistics.arrays and not any(ADAPTERS[step["name"]].is_fitted for step in steps):
        return given_statistics
    vectors = normalize_scenes(scenes)

    def measure_moments(inputs: NDArray[np.floating]) -> Statistics:
        mean, covariance = compute_moments(inputs)
        return Statistics({f"{input_modality}_mean": mean, f"{input_modality}_covariance": covariance})

    own_statistics = measure_moments(vectors)

    def measure(steps_before: Steps, known: Statistics) -> Statistics:
        return (
            measure_moments(apply_adapters(steps_before, known, vectors, input_modality))
            if drop_noise_steps(steps_before)
            else own_statistics
        )

    if given_statistics.arrays and input_modality == "text":
        num_scenes = len({get_scene_key(example) for example in examples})
        _warn_of_another_domain(str(config.statistics), given_statistics, own_statistics.arrays, num_scenes)
    return fit_in_sequence(steps, given_statistics, measure)


def summarize_statistics(statistics: Statistics) -> dict[str, Any] | None:
    """What results say of the statistics that a run read; None where it read none."""
    keys = ("data", "split", "num_texts", "num_scenes", "num_images", "paired", "data_fingerprint", "sha256")
    if "sha256" not in statistics.facts:
        return None
    return {key: statistics.facts.get(key) for key in keys}


def _load_given_statistics(config: TrainConfig, encoder: AnyEncoder, steps: Steps) -> Statistics:
    """What `statistics=` names; nothing where it names nothing."""
    if config.statistics is None:
        needing = [step["name"] for step in steps if ADAPTERS[step["name"]].data_regime > "T0"]
        if needing:
            raise UserError(
                f"adapter={','.join(config.adapter.names)}: {needing[0]} needs statistics of images; run python "
                "scripts/compute_statistics.py output=FOLDER with the same encoder (pairs=true for linear), and give "
                "statistics=FOLDER"
            )
        if config.noise in _CHOSEN_BY:
            arguments = "pairs=true max_scenes=100" if config.noise == "auto-paired" else "images=true"
            raise UserError(
                f"noise={config.noise} is chosen where images may be seen; run python scripts/compute_statistics.py {arguments} "
                "output=FOLDER with the same encoder, and give statistics=FOLDER"
            )
        return Statistics({})
    setting = f"statistics={config.statistics}"
    reading = [step["name"] for step in steps if ADAPTERS[step["name"]].is_fitted]
    if not reading and config.noise not in _CHOSEN_BY:
        raise UserError(
            f"{setting}: adapter={','.join(config.adapter.names)} reads none; leave it out, or "
            "put an adapter that does first, such as adapter=[remove_mean,gaussian]"
        )
    statistics = Statistics.load(Path(config.statistics), encoder.dim)
    if statistics.facts.get("encoder_fingerprint") not in (None, encoder.fingerprint):
        raise UserError(
            f"{setting} were fitted on vectors of {statistics.facts.get('encoder')} with other weights "
            f"than {encoder.name}; fit them with this encoder"
        )
    _check_chain(setting, statistics, steps)
    return statistics


def _check_chain(setting: str, statistics: Statistics, steps: Steps) -> None:
    """Statistics that were taken behind other adapters must have been taken behind the same ones."""
    fitted_behind = list(statistics.facts.get("chain", []))
    for number, step in enumerate(steps):
        array_name = f"{get_statistics_prefix(steps, number)}text_mean"
        steps_before = drop_noise_steps(steps[:number])
        if steps_before and array_name in statistics.arrays and steps_before != fitted_behind[: len(steps_before)]:
            raise UserError(
                f"{setting}: {step['name']} was fitted behind {_format_steps(fitted_behind)}, and stands behind {_format_steps(steps_before)} in "
                "this run; fit with the run's adapter= and settings: python scripts/compute_statistics.py adapter=[...]"
            )


def _format_steps(steps: Sequence[Mapping[str, Any]]) -> str:
    return f"[{','.join(_format_step(step) for step in steps)}]"


def _format_step(step: Mapping[str, Any]) -> str:
    settings = ",".join(f"{key}={value}" for key, value in step.items() if key != "name")
    return f"{step['name']}({settings})" if settings else step["name"]


@dataclass(frozen=True)
class TrainingNoise:
    """The scale of the noise, and how it was chosen where that was left to a rule."""

    scale: NoiseScale
    choice: NoiseChoice | None = None

    @property
    def data_regime(self) -> str:
        """The data that the choice saw."""
        return self.choice.data_regime if self.choice else "T0"

    def as_dict(self) -> dict[str, Any]:
        """For the model's config and results.json."""
        return self.scale.as_dict() | ({"choice": asdict(self.choice)} if self.choice else {})

    @classmethod
    def from_dict(cls, values: dict[str, Any], dim: int) -> "TrainingNoise":
        """What `as_dict` gave."""
        choice = values.get("choice")
        return cls(NoiseScale(values["std"], dim), NoiseChoice.from_dict(choice) if choice else None)

    def lines(self) -> dict[str, str]:
        """For the terminal, by what they are about."""
        return {"noise": str(self.scale), **(self.choice.lines() if self.choice else {})}


def choose_noise(
    config: TrainConfig,
    input_modality: InputModality,
    encoder: AnyEncoder,
    examples: Sequence[Example],
    inputs: Sequence[Example],
    statistics: Statistics,
) -> TrainingNoise:
    """The noise that a run gets.

    Args:
        config: a run's.
        input_modality: what it is trained on.
        encoder: whose vectors get the noise.
        examples: the training scenes, several captions each where there are several.
        inputs: what is trained on; the texts of one are averaged.
        statistics: what the chain is fitted by.

    Raises:
        UserError: if a rule cannot choose.
    """
    requested = resolve_requested_noise(config, input_modality, encoder.dim)
    covariance_noise = config.adapter.covariance_noise
    if covariance_noise is not None and covariance_noise.shape == "difference" and requested != 0:
        return TrainingNoise(NoiseScale(_compute_difference_std(config, statistics), encoder.dim))
    if not isinstance(requested, str):
        return TrainingNoise(NoiseScale(requested, encoder.dim))
    if input_modality == "image":
        raise UserError(
            f"noise={requested} chooses noise that lets texts stand in for images, and this run is trained on images; "
            "give a number, or leave it out"
        )
    steps = config.adapter.steps()
    if requested in _CHOSEN_BY:
        choice = _read_saved_choice(str(config.statistics), requested, statistics, steps)
    else:
        scenes = sample(group_by_scene(examples), _MOST_SCENES, _SEED)
        vectors = encode_groups(encoder, scenes, config.embedding_cache, with_images=False)
        adapted = apply_adapters_to_groups(select_steps_before_noise(steps), statistics, vectors)
        texts_an_input = len(inputs) / sum(1 / len(example.texts) for example in inputs)
        choice = choose_from_texts(config.rule, adapted, _SEED, texts_an_input)
    return TrainingNoise(NoiseScale(choice.std, encoder.dim), choice)


def _compute_difference_std(config: TrainConfig, statistics: Statistics) -> float:
    """Root mean square, per coordinate, of the noise that has mean and covariance of image minus text."""
    steps = config.adapter.steps()
    number = config.adapter.names.index("covariance_noise")
    mean, covariance = (
        statistics.array(f"{get_statistics_prefix(steps, number)}difference_{name}") for name in ("mean", "covariance")
    )
    return float(((covariance.trace() + (mean**2).sum()) / len(mean)) ** 0.5)


def _read_saved_choice(name: str, mode: str, statistics: Statistics, steps: Steps) -> NoiseChoice:
    """The choice that compute_statistics.py made and saved."""
    saved_choice = statistics.facts.get("noise", {}).get(_CHOSEN_BY[mode])
    if saved_choice is None or "refused" in saved_choice:
        reason = f": {saved_choice['refused']}" if saved_choice else ""
        arguments = "pairs=true" if mode == "auto-paired" else "images=true and pairs=false"
        raise UserError(
            f"noise={mode}: statistics={name} chose none{reason}; fit them with {arguments}, or use noise=auto"
        )
    steps_before = list(statistics.facts.get("noise_behind", []))
    if steps_before != list(select_steps_before_noise(steps)):
        raise UserError(
            f"noise={mode}: statistics={name} chose it behind {_format_steps(steps_before)}, and the run's noise stands behind "
            f"{_format_steps(select_steps_before_noise(steps))}; fit with the run's adapter=: python scripts/compute_statistics.py adapter=[...]"
        )
    return NoiseChoice.from_dict(saved_choice)


def measure_domain_distance(statistics: Statistics, training_moments: Mapping[str, Any], num_scenes: int) -> float:
    """How far the mean text of statistics is from training's, in units of the training texts' spread.

    Two samples of one domain differ by 1 / n of both in the square of this, n the number of scenes, as texts of
    one scene are alike; that is taken off, so the same domain gives about 0.
    """
    shift = statistics.array("text_mean") - training_moments["text_mean"]
    squared = float((shift**2).sum() / training_moments["text_covariance"].trace())
    by_chance = 1 / max(1, int(statistics.facts.get("num_scenes", num_scenes))) + 1 / num_scenes
    return max(0.0, squared - by_chance) ** 0.5


def _warn_of_another_domain(
    name: str, statistics: Statistics, training_moments: Mapping[str, Any], num_scenes: int
) -> None:
    """Says so where the texts of the statistics lie elsewhere than those of training."""
    if (
        "text_mean" in statistics.arrays
        and (distance := measure_domain_distance(statistics, training_moments, num_scenes)) > _FAR
    ):
        _logger.warning(
            "  warning: the texts that statistics=%s were fitted on lie elsewhere: their mean is %.2f of the training "
            "texts' spread away (of one domain: near 0); such statistics can hurt, so compare with adapter=gaussian",
            name,
            distance,
        )
