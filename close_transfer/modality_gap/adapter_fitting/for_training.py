"""What training fits when it begins: statistics of its own vectors, and the scale of its noise."""

import sys
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
    given = _given(config, encoder, steps)
    if not given.arrays and not any(ADAPTERS[step["name"]].is_fitted for step in steps):
        return given
    vectors = normalize_scenes(scenes)

    def own(seen: NDArray[np.floating]) -> Statistics:
        mean, covariance = compute_moments(seen)
        return Statistics({f"{input_modality}_mean": mean, f"{input_modality}_covariance": covariance})

    first = own(vectors)

    def measure(before: Steps, known: Statistics) -> Statistics:
        return own(apply_adapters(before, known, vectors, input_modality)) if drop_noise_steps(before) else first

    if given.arrays and input_modality == "text":
        num_scenes = len({get_scene_key(example) for example in examples})
        _warn_of_another_domain(str(config.statistics), given, first.arrays, num_scenes)
    return fit_in_sequence(steps, given, measure)


def summarize_statistics(statistics: Statistics) -> dict[str, Any] | None:
    """What results say of the statistics that a run read; None where it read none."""
    told = ("data", "split", "num_texts", "num_scenes", "num_images", "paired", "data_fingerprint", "sha256")
    if "sha256" not in statistics.facts:
        return None
    return {key: statistics.facts.get(key) for key in told}


def _given(config: TrainConfig, encoder: AnyEncoder, steps: Steps) -> Statistics:
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
            what = "pairs=true max_scenes=100" if config.noise == "auto-paired" else "images=true"
            raise UserError(
                f"noise={config.noise} is chosen where images may be seen; run python scripts/compute_statistics.py {what} "
                "output=FOLDER with the same encoder, and give statistics=FOLDER"
            )
        return Statistics({})
    named = f"statistics={config.statistics}"
    reads = [step["name"] for step in steps if ADAPTERS[step["name"]].is_fitted]
    if not reads and config.noise not in _CHOSEN_BY:
        raise UserError(
            f"{named}: adapter={','.join(config.adapter.names)} reads none; leave it out, or "
            "put an adapter that does first, such as adapter=[remove_mean,gaussian]"
        )
    given = Statistics.load(Path(config.statistics), encoder.dim)
    if given.facts.get("encoder_fingerprint") not in (None, encoder.fingerprint):
        raise UserError(
            f"{named} were fitted on vectors of {given.facts.get('encoder')} with other weights "
            f"than {encoder.name}; fit them with this encoder"
        )
    _check_chain(named, given, steps)
    return given


def _check_chain(named: str, given: Statistics, steps: Steps) -> None:
    """Statistics that were taken behind other adapters must have been taken behind the same ones."""
    fitted_behind = list(given.facts.get("chain", []))
    for number, step in enumerate(steps):
        read = f"{get_statistics_prefix(steps, number)}text_mean"
        before = drop_noise_steps(steps[:number])
        if before and read in given.arrays and before != fitted_behind[: len(before)]:
            raise UserError(
                f"{named}: {step['name']} was fitted behind {_named(fitted_behind)}, and stands behind {_named(before)} in "
                "this run; fit with the run's adapter= and settings: python scripts/compute_statistics.py adapter=[...]"
            )


def _named(steps: Sequence[Mapping[str, Any]]) -> str:
    return f"[{','.join(_step_in_words(step) for step in steps)}]"


def _step_in_words(step: Mapping[str, Any]) -> str:
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
    given = resolve_requested_noise(config, input_modality, encoder.dim)
    shaped = config.adapter.covariance_noise
    if shaped is not None and shaped.shape == "difference" and given != 0:
        return TrainingNoise(NoiseScale(_std_of_differences(config, statistics), encoder.dim))
    if not isinstance(given, str):
        return TrainingNoise(NoiseScale(given, encoder.dim))
    if input_modality == "image":
        raise UserError(
            f"noise={given} chooses noise that lets texts stand in for images, and this run is trained on images; "
            "give a number, or leave it out"
        )
    steps = config.adapter.steps()
    if given in _CHOSEN_BY:
        choice = _chosen_before(str(config.statistics), given, statistics, steps)
    else:
        scenes = sample(group_by_scene(examples), _MOST_SCENES, _SEED)
        vectors = encode_groups(encoder, scenes, config.embedding_cache, with_images=False)
        seen = apply_adapters_to_groups(select_steps_before_noise(steps), statistics, vectors)
        averaged = len(inputs) / sum(1 / len(one.texts) for one in inputs)
        choice = choose_from_texts(config.rule, seen, _SEED, averaged)
    return TrainingNoise(NoiseScale(choice.std, encoder.dim), choice)


def _std_of_differences(config: TrainConfig, statistics: Statistics) -> float:
    """Root mean square, per coordinate, of the noise that has mean and covariance of image minus text."""
    steps = config.adapter.steps()
    number = config.adapter.names.index("covariance_noise")
    mean, covariance = (
        statistics.array(f"{get_statistics_prefix(steps, number)}difference_{name}") for name in ("mean", "covariance")
    )
    return float(((covariance.trace() + (mean**2).sum()) / len(mean)) ** 0.5)


def _chosen_before(name: str, mode: str, statistics: Statistics, steps: Steps) -> NoiseChoice:
    """The choice that compute_statistics.py made and saved."""
    found = statistics.facts.get("noise", {}).get(_CHOSEN_BY[mode])
    if found is None or "refused" in found:
        reason = f": {found['refused']}" if found else ""
        what = "pairs=true" if mode == "auto-paired" else "images=true and pairs=false"
        raise UserError(f"noise={mode}: statistics={name} chose none{reason}; fit them with {what}, or use noise=auto")
    behind = list(statistics.facts.get("noise_behind", []))
    if behind != list(select_steps_before_noise(steps)):
        raise UserError(
            f"noise={mode}: statistics={name} chose it behind {_named(behind)}, and the run's noise stands behind "
            f"{_named(select_steps_before_noise(steps))}; fit with the run's adapter=: python scripts/compute_statistics.py adapter=[...]"
        )
    return NoiseChoice.from_dict(found)


def measure_domain_distance(given: Statistics, own: Mapping[str, Any], num_own: int) -> float:
    """How far the mean text of statistics is from training's, in units of the training texts' spread.

    Two samples of one domain differ by 1 / n of both in the square of this, n the number of scenes, as texts of
    one scene are alike; that is taken off, so the same domain gives about 0.
    """
    moved = given.array("text_mean") - own["text_mean"]
    squared = float((moved**2).sum() / own["text_covariance"].trace())
    by_chance = 1 / max(1, int(given.facts.get("num_scenes", num_own))) + 1 / num_own
    return max(0.0, squared - by_chance) ** 0.5


def _warn_of_another_domain(name: str, given: Statistics, own: Mapping[str, Any], num_own: int) -> None:
    """Says so where the texts of the statistics lie elsewhere than those of training."""
    if "text_mean" in given.arrays and (distance := measure_domain_distance(given, own, num_own)) > _FAR:
        print(
            f"  warning: the texts that statistics={name} were fitted on lie elsewhere: their mean is {distance:.2f} "
            "of the training texts' spread away (of one domain: near 0); such statistics can hurt, so compare with "
            "adapter=gaussian",
            file=sys.stderr,
        )
