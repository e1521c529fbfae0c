"""What a rule chose, on what evidence, and what would become of texts if it were off by a factor of two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.neighbours import measure_neighbourhoods
from close_transfer.modality_gap.vectors import GroupedVectors
from close_transfer.models.noise_scale import NoiseScale

_FACTORS = (0.5, 1.0, 2.0)
_MOST_TEXTS = 2_000  # whose neighbourhoods are looked at


@dataclass(frozen=True)
class Sensitivity:
    """What noise of one scale does to the texts it was chosen on.

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
    """What a rule chose.

    Attributes:
        rule: its name.
        data_regime: the data it saw: "T0" text, "T1" unpaired images too, "T4" pairs.
        std: standard deviation per coordinate of a unit vector.
        evidence: what it looked at, by name.
        grouped: whether texts of one scene were there; else each text's nearest stood in for them.
        interval: 95% bootstrap interval of `std` over scenes; None where it was not asked for.
        sensitivity: at half, once and twice `std`.
    """

    rule: str
    data_regime: str
    std: float
    evidence: dict[str, float]
    grouped: bool
    interval: tuple[float, float] | None = None
    sensitivity: tuple[Sensitivity, ...] = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NoiseChoice":
        """From what `dataclasses.asdict` made and JSON kept."""
        interval, sensitivity = values["interval"], values["sensitivity"]
        return cls(
            **{
                **values,
                "interval": tuple(interval) if interval else None,
                "sensitivity": tuple(Sensitivity(**scale) for scale in sensitivity),
            }
        )

    def with_grouped(self, grouped: bool) -> "NoiseChoice":
        """The same, telling whether texts of one scene were there."""
        return replace(self, grouped=grouped)

    def of_averages(self, num_texts: float) -> "NoiseChoice":
        """The choice for inputs that are averages of so many texts."""
        factor = num_texts**-0.5
        low, high = self.interval or (0.0, 0.0)
        return replace(
            self,
            std=factor * self.std,
            interval=(factor * low, factor * high) if self.interval else None,
            evidence=self.evidence | {"texts_averaged": num_texts},
        )

    def lines(self) -> dict[str, str]:
        """A few lines for the terminal, by what they are about."""
        evidence = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.evidence.items())
        source = "" if self.grouped else "; hardly any scene has two texts, so each text's nearest stood in"
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


# From vectors and a seed to a choice without interval and sensitivity.
Rule = Callable[[GroupedVectors, int], NoiseChoice]


def select_scenes(vectors: GroupedVectors, scenes: Sequence[int] | Float64Array) -> GroupedVectors:
    """Those scenes, in that order; one that is named twice is two scenes, whose texts are alike."""
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
    """About so many texts, of scenes drawn by the seed; all of them where there are fewer."""
    if len(vectors.texts) <= max_texts:
        return vectors
    order = np.random.default_rng(seed).permutation(vectors.num_scenes)
    counts = vectors.texts_a_scene()[order].cumsum()
    return select_scenes(vectors, np.sort(order[: max(2, int(np.searchsorted(counts, max_texts, side="right")))]))


def measure_sensitivity(vectors: GroupedVectors, std: float, seed: int) -> tuple[Sensitivity, ...]:
    """What half, once and twice this scale do to the texts."""
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
    """The choice, with what it does to the texts.

    Raises:
        UserError: if it is no scale that can be trained with.
    """
    if not 0 < choice.std < np.inf:
        evidence = ", ".join(f"{name} {value:.3g}" for name, value in choice.evidence.items())
        raise UserError(
            f"the rule {choice.rule} chose noise {choice.std} ({evidence}), as the texts do not differ within their scenes; "
            "give a number, such as noise=0.1"
        )
    return replace(choice, sensitivity=measure_sensitivity(vectors, choice.std, seed))
