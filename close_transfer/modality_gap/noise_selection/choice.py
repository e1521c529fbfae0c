"""Choice of a rule: its evidence, and the effect on texts if it were off by a factor of two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.core.schema import NonNegative
from close_transfer.modality_gap.neighbours import measure_neighbourhoods
from close_transfer.modality_gap.vectors import GroupedVectors
from close_transfer.models.noise_scale import NoiseScale

_FACTORS = (0.5, 1.0, 2.0)  # of the chosen scale: the errors that the docstring above speaks of
_MOST_TEXTS = 2_000  # texts whose neighbourhoods are measured; the cost grows with their square


@dataclass(frozen=True)
class Sensitivity:
    """Effect of noise of one scale on the texts it was chosen by.

    Attributes:
        std: standard deviation per coordinate.
        cosine: expected cosine of a text with its noised self.
        own_scene: share of noised texts whose nearest other text is of the same scene; None for single texts.
        kept_neighbours: share of a text's ten nearest texts that noise leaves among its ten nearest.
    """

    std: float
    cosine: float
    own_scene: float | None
    kept_neighbours: float | None


@dataclass(frozen=True)
class NoiseChoice:
    """Choice of a rule.

    Attributes:
        rule: name of the rule.
        data_regime: the data it saw: "T0" text, "T1" unpaired images too, "T4" pairs.
        std: standard deviation per coordinate of a unit vector.
        evidence: the measurements that it used, by name.
        grouped: True if scenes have several texts; otherwise each text's nearest text replaced them.
        interval: 95% bootstrap interval of `std` over scenes; None if it was not requested.
        sensitivity: at half, once and twice `std`.
    """

    rule: str
    data_regime: str
    std: NonNegative
    evidence: dict[str, float]
    grouped: bool
    interval: tuple[float, float] | None = None
    sensitivity: tuple[Sensitivity, ...] = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NoiseChoice":
        """Read the output of `dataclasses.asdict` from JSON.

        Raises:
            ValidationError: if a value has another type or range.
        """
        choice: NoiseChoice = TypeAdapter(cls).validate_python(values)
        return choice

    def replace_grouped(self, grouped: bool) -> "NoiseChoice":
        """Return a copy with another value of `grouped`."""
        return replace(self, grouped=grouped)

    def rescale_to_averages(self, num_texts: float) -> "NoiseChoice":
        """Return the choice for inputs that are averages of `num_texts` texts."""
        factor = num_texts**-0.5
        low, high = self.interval or (0.0, 0.0)
        return replace(
            self,
            std=factor * self.std,
            interval=(factor * low, factor * high) if self.interval else None,
            evidence=self.evidence | {"texts_averaged": num_texts},
        )

    def lines(self) -> dict[str, str]:
        """Return a few lines for the terminal, by topic."""
        evidence = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.evidence.items())
        source = (
            "" if self.grouped else "; hardly any scene has two texts, so each text was compared with its nearest one"
        )
        interval = f", 95% interval {self.interval[0]:.3g} to {self.interval[1]:.3g}" if self.interval else ""
        lines = {"chosen by": f"{self.rule} ({self.data_regime}){interval}", "evidence": evidence + source}
        if self.sensitivity:
            lines["at 1/2, 1, 2"] = "; ".join(_format_sensitivity(sensitivity) for sensitivity in self.sensitivity)
        return lines


def _format_sensitivity(sensitivity: Sensitivity) -> str:
    neighbour_effect = (
        f"{100 * sensitivity.kept_neighbours:.0f}% of neighbours kept"
        if sensitivity.kept_neighbours is not None
        else ""
    )
    effect = (
        f"{100 * sensitivity.own_scene:.0f}% nearest to their scene"
        if sensitivity.own_scene is not None
        else neighbour_effect
    )
    return f"noise {sensitivity.std:.3g} cosine {sensitivity.cosine:.2f} {effect}".rstrip()


# A rule maps vectors and a seed to a choice without interval and sensitivity.
Rule = Callable[[GroupedVectors, int], NoiseChoice]


def select_scenes(vectors: GroupedVectors, scenes: Sequence[int] | Float64Array) -> GroupedVectors:
    """Select scenes in that order; a scene that is named twice becomes two scenes with the same texts."""
    starts = np.searchsorted(vectors.scene_of_text, np.arange(vectors.num_scenes + 1))
    rows = [np.arange(starts[int(scene)], starts[int(scene) + 1]) for scene in scenes]
    text_rows = np.concatenate(rows)
    return GroupedVectors(
        vectors.texts[text_rows],
        np.repeat(np.arange(len(rows)), [len(scene_rows) for scene_rows in rows]),
        None if vectors.images is None else vectors.images[np.asarray(scenes, dtype=np.int64)],
        tuple(vectors.strings[i] for i in text_rows) if vectors.strings else (),
    )


def limit_scenes(vectors: GroupedVectors, max_texts: int, seed: int) -> GroupedVectors:
    """Draw scenes by the seed until they hold about `num_texts` texts; all scenes if they hold fewer."""
    if len(vectors.texts) <= max_texts:
        return vectors
    order = np.random.default_rng(seed).permutation(vectors.num_scenes)
    counts = vectors.texts_per_scene()[order].cumsum()
    return select_scenes(vectors, np.sort(order[: max(2, int(np.searchsorted(counts, max_texts, side="right")))]))


def measure_sensitivity(vectors: GroupedVectors, std: float, seed: int) -> tuple[Sensitivity, ...]:
    """Measure the effect of half, once and twice this scale on the texts."""
    sample = replace(limit_scenes(vectors, _MOST_TEXTS, seed), images=None)
    stds = [factor * std for factor in _FACTORS]
    return tuple(
        Sensitivity(
            scaled_std,
            NoiseScale(scaled_std, vectors.dim).cosine,
            neighbourhood.own_scene,
            neighbourhood.kept_neighbours,
        )
        for scaled_std, neighbourhood in zip(stds, measure_neighbourhoods(sample, stds, seed), strict=True)
    )


def add_sensitivity(choice: NoiseChoice, vectors: GroupedVectors, seed: int) -> NoiseChoice:
    """Return the choice with its effect on the texts.

    Raises:
        UserError: if no model can be trained with the chosen scale.
    """
    if not 0 < choice.std < np.inf:
        evidence = ", ".join(f"{name} {value:.3g}" for name, value in choice.evidence.items())
        raise UserError(
            f"the rule {choice.rule} chose noise {choice.std} ({evidence}), because the texts do not differ within their scenes. "
            "Give a number, such as noise=0.1"
        )
    return replace(choice, sensitivity=measure_sensitivity(vectors, choice.std, seed))
