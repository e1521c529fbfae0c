"""Fitting at the start of training: statistics of the run's own vectors, and the scale of its noise."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from close_transfer.config.choices import InputModality
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.core.schema import describe_first_problem
from close_transfer.data.example_sequences import count_texts
from close_transfer.data.examples import Example, get_scene_key, sample_scenes
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
from close_transfer.models.saved_config import SavedNoise, SavedStatistics

_logger = logging.getLogger(__name__)

_FAR = 0.3  # distance of two domains at least, in units of the training texts' own spread
_MOST_SCENES = 5_000  # scenes that the noise is chosen by; more hardly change the choice
_SEED = 0  # seed of their draw, fixed so that the same data give the same noise for every seed of a run

_CHOSEN_BY = {"auto-unpaired": "unpaired", "auto-paired": "paired"}


def load_or_compute_statistics(
    config: TrainConfig,
    encoder: AnyEncoder,
    scenes: SceneVectors,
    input_modality: InputModality,
    examples: Sequence[Example],
) -> Statistics:
    """Return the statistics that fit the chain's adapters: the given ones, and those of training's own vectors.

    Args:
        config: settings of the run.
        encoder: encoder of the vectors.
        scenes: inputs of training.
        input_modality: "text" or "image", the source of the inputs.
        examples: the training scenes of the inputs.

    Raises:
        UserError: if the given statistics are missing, damaged, of another encoder or of another chain, or no
            adapter reads them; and if an adapter needs what they lack.
    """
    steps = config.adapter.list_steps()
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


def summarize_statistics(statistics: Statistics) -> SavedStatistics | None:
    """Return the facts of the statistics that a run read, for its results; None if it read none."""
    keys = ("data", "split", "num_texts", "num_scenes", "num_images", "paired", "data_fingerprint", "sha256")
    if "sha256" not in statistics.facts:
        return None
    return cast(SavedStatistics, {key: statistics.facts.get(key) for key in keys})


def _load_given_statistics(config: TrainConfig, encoder: AnyEncoder, steps: Steps) -> Statistics:
    """Load the statistics that `statistics=` names; None if it names none."""
    if config.statistics is None:
        needing = [step["name"] for step in steps if ADAPTERS[step["name"]].data_regime > "T0"]
        if needing:
            raise UserError(
                f"adapter={','.join(config.adapter.names)}: {needing[0]} needs statistics of images. Run python "
                "scripts/compute_statistics.py output=FOLDER with the same encoder (pairs=true for linear), and give "
                "statistics=FOLDER"
            )
        if config.noise in _CHOSEN_BY:
            arguments = "pairs=true max_scenes=100" if config.noise == "auto-paired" else "images=true"
            raise UserError(
                f"noise={config.noise} is chosen by statistics of images. Run python scripts/compute_statistics.py {arguments} "
                "output=FOLDER with the same encoder, and give statistics=FOLDER"
            )
        return Statistics({})
    setting = f"statistics={config.statistics}"
    reading = [step["name"] for step in steps if ADAPTERS[step["name"]].is_fitted]
    if not reading and config.noise not in _CHOSEN_BY:
        raise UserError(
            f"{setting}: adapter={','.join(config.adapter.names)} does not read statistics. Leave them out, or "
            "start with an adapter that does, such as adapter=[remove_mean,gaussian]"
        )
    statistics = Statistics.load(Path(config.statistics), encoder.dim)
    if statistics.facts.get("encoder_fingerprint") not in (None, encoder.fingerprint):
        raise UserError(
            f"{setting} were fitted on vectors of {statistics.facts.get('encoder')} with other weights "
            f"than {encoder.name}. Fit them with this encoder"
        )
    _check_chain(setting, statistics, steps)
    return statistics


def _check_chain(setting: str, statistics: Statistics, steps: Steps) -> None:
    """Check that statistics measured after other adapters are used after the same ones."""
    fitted_behind = list(statistics.facts.get("chain", []))
    for number, step in enumerate(steps):
        array_name = f"{get_statistics_prefix(steps, number)}text_mean"
        steps_before = drop_noise_steps(steps[:number])
        if steps_before and array_name in statistics.arrays and steps_before != fitted_behind[: len(steps_before)]:
            raise UserError(
                f"{setting}: {step['name']} was fitted after {_format_steps(fitted_behind)}, but follows {_format_steps(steps_before)} in "
                "this run. Fit with the run's adapter= and settings: python scripts/compute_statistics.py adapter=[...]"
            )


def _format_steps(steps: Sequence[Mapping[str, Any]]) -> str:
    return f"[{','.join(_format_step(step) for step in steps)}]"


def _format_step(step: Mapping[str, Any]) -> str:
    settings = ",".join(f"{key}={value}" for key, value in step.items() if key != "name")
    return f"{step['name']}({settings})" if settings else step["name"]


@dataclass(frozen=True)
class TrainingNoise:
    """Scale of the noise, and the choice behind it if a rule made it."""

    scale: NoiseScale
    choice: NoiseChoice | None = None

    @property
    def data_regime(self) -> str:
        """Return the data that the choice saw."""
        return self.choice.data_regime if self.choice else "T0"

    def as_dict(self) -> SavedNoise:
        """Return the fields for the model's config and results.json."""
        choice = {"choice": asdict(self.choice)} if self.choice else {}
        return cast(SavedNoise, self.scale.as_dict() | choice)

    @classmethod
    def from_dict(cls, values: SavedNoise, dim: int) -> "TrainingNoise":
        """Read the output of `as_dict`."""
        choice = values.get("choice")
        return cls(NoiseScale(values["std"], dim), NoiseChoice.from_dict(choice) if choice else None)

    def lines(self) -> dict[str, str]:
        """Return lines for the terminal, by topic."""
        return {"noise": str(self.scale), **(self.choice.lines() if self.choice else {})}


def choose_noise(
    config: TrainConfig,
    input_modality: InputModality,
    encoder: AnyEncoder,
    examples: Sequence[Example],
    inputs: Sequence[Example],
    statistics: Statistics,
) -> TrainingNoise:
    """Return the noise of a run: a given number, or the choice of a rule.

    Args:
        config: settings of the run.
        input_modality: "text" or "image", the source of its inputs.
        encoder: encoder of the vectors.
        examples: the training scenes, with several captions each if there are several.
        inputs: inputs of training; the texts of one input are averaged.
        statistics: statistics that fit the chain.

    Raises:
        UserError: if a rule cannot choose.
    """
    requested = resolve_requested_noise(config, input_modality, encoder.dim)
    if (name := config.adapter.own_noise_scale) is not None and requested != 0:
        return TrainingNoise(NoiseScale(_compute_difference_std(config, name, statistics), encoder.dim))
    if not isinstance(requested, str):
        return TrainingNoise(NoiseScale(requested, encoder.dim))
    if input_modality == "image":
        raise UserError(
            f"noise={requested} chooses noise that lets texts stand in for images, but this run is trained on images. "
            "Give a number, or leave it out"
        )
    steps = config.adapter.list_steps()
    if requested in _CHOSEN_BY:
        choice = _read_saved_choice(str(config.statistics), requested, statistics, steps)
    else:
        scenes = sample_scenes(examples, _MOST_SCENES, _SEED)
        vectors = encode_groups(encoder, scenes, config.embedding_cache, with_images=False)
        adapted = apply_adapters_to_groups(select_steps_before_noise(steps), statistics, vectors)
        texts_per_input = len(inputs) / sum(1 / count for count in count_texts(inputs).tolist())
        choice = choose_from_texts(config.rule, adapted, _SEED, texts_per_input)
    return TrainingNoise(NoiseScale(choice.std, encoder.dim), choice)


def _compute_difference_std(config: TrainConfig, adapter: str, statistics: Statistics) -> float:
    """Return the root mean square, per coordinate, of an adapter's noise with mean and covariance of image minus text."""
    steps = config.adapter.list_steps()
    number = config.adapter.names.index(adapter)
    mean, covariance = (
        statistics.array(f"{get_statistics_prefix(steps, number)}difference_{name}") for name in ("mean", "covariance")
    )
    return float(((covariance.trace() + (mean**2).sum()) / len(mean)) ** 0.5)


def _read_saved_choice(name: str, mode: str, statistics: Statistics, steps: Steps) -> NoiseChoice:
    """Return the choice that compute_statistics.py made and saved."""
    saved_choice = statistics.facts.get("noise", {}).get(_CHOSEN_BY[mode])
    if saved_choice is None or "refused" in saved_choice:
        reason = f": {saved_choice['refused']}" if saved_choice else ""
        arguments = "pairs=true" if mode == "auto-paired" else "images=true and pairs=false"
        raise UserError(
            f"noise={mode}: statistics={name} hold no choice of noise{reason}. Fit them with {arguments}, or use noise=auto"
        )
    steps_before = list(statistics.facts.get("noise_behind", []))
    if steps_before != list(select_steps_before_noise(steps)):
        raise UserError(
            f"noise={mode}: statistics={name} chose it after {_format_steps(steps_before)}, but the run's noise follows "
            f"{_format_steps(select_steps_before_noise(steps))}. Fit with the run's adapter=: python scripts/compute_statistics.py adapter=[...]"
        )
    try:
        choice = NoiseChoice.from_dict(saved_choice)
    except ValidationError as error:
        reason = describe_first_problem(error)
    else:
        if choice.std > 0:
            return choice
        reason = "std: is 0"
    raise UserError(
        f"noise={mode}: statistics={name} hold a damaged choice of noise ({reason}). Fit the statistics again"
    )


def measure_domain_distance(statistics: Statistics, training_moments: Mapping[str, Any], num_scenes: int) -> float:
    """Return the distance of the statistics' mean text from training's, in units of the training texts' spread.

    Two samples of one domain differ by 1 / n of each in the square, with n the number of scenes because texts
    of one scene are alike. That is subtracted, so the same domain gives about 0.
    """
    shift = statistics.array("text_mean") - training_moments["text_mean"]
    squared = float((shift**2).sum() / training_moments["text_covariance"].trace())
    by_chance = 1 / max(1, int(statistics.facts.get("num_scenes", num_scenes))) + 1 / num_scenes
    return max(0.0, squared - by_chance) ** 0.5


def _warn_of_another_domain(
    name: str, statistics: Statistics, training_moments: Mapping[str, Any], num_scenes: int
) -> None:
    """Warn if the statistics' texts are from another domain than the training texts."""
    if (
        "text_mean" in statistics.arrays
        and (distance := measure_domain_distance(statistics, training_moments, num_scenes)) > _FAR
    ):
        _logger.warning(
            "  warning: the texts of statistics=%s are from another domain: their mean is %.2f of the training texts' spread "
            "away (for one domain near 0). Such statistics can hurt, so compare with adapter=gaussian",
            name,
            distance,
        )
