"""A few hundred captions and images by their real CLIP vectors, in folds; and the systems that learn from them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from close_transfer.config.adapters import AdapterConfig
from close_transfer.config.train import DEFAULT_NOISE_RULE
from close_transfer.core.arrays import normalize_rows
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import read_lines, text_field, texts_field
from close_transfer.core.roles import Role, list_fields
from close_transfer.encoders.precomputed import read_array
from close_transfer.modality_gap.adapter_fitting.chain import apply_adapters, apply_adapters_to_groups, fit_in_sequence
from close_transfer.modality_gap.noise_selection import choose_from_texts, choose_paired, choose_unpaired
from close_transfer.modality_gap.vectors import GroupedVectors
from close_transfer.models.adapters import ADAPTERS, AdapterChain, AdapterContext, Statistics, Steps, drop_noise_steps
from close_transfer.models.adapters.statistics import measure_statistics
from studies.config import RealSystemConfig, StudyRealVectorsConfig


@dataclass(frozen=True)
class Pairs:
    """Captions, all their images' captions, and the vectors of both; row i belongs to row i."""

    captions: list[str]
    references: list[tuple[str, ...]]
    texts: NDArray[np.floating]
    images: NDArray[np.floating]

    @classmethod
    def read(cls, folder: Path) -> "Pairs":
        """From captions.jsonl, caption_embeddings.npy and image_embeddings.npy.

        Raises:
            UserError: if one of them is missing or damaged, or their counts differ.
        """
        path = folder / "captions.jsonl"
        faults, rows = RecordErrors(path, "error"), []
        for line, record in read_lines(path, "pairs"):
            try:
                rows.append((text_field(record, "caption"), texts_field(record, "references")))
            except RecordError as fault:
                faults.add(f"line {line}", fault)
        faults.settle(len(rows))
        texts, images = (read_array(folder / f"{name}_embeddings.npy", "pairs") for name in ("caption", "image"))
        if not len(texts) == len(images) == len(rows):
            raise UserError(
                f"pairs={folder}: {len(rows)} captions, {len(texts)} caption vectors and {len(images)} image vectors; row i of each must belong together"
            )
        return cls([caption for caption, _ in rows], [references for _, references in rows], texts, images)


@dataclass(frozen=True)
class System:
    """A row of the tables."""

    config: RealSystemConfig

    @property
    def name(self) -> str:
        """As tables print it."""
        return self.config.name

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The adapters before the noise, then the noise."""
        return AdapterConfig.model_validate({name: {} for name in (*self.config.adapter, "gaussian")}).steps()

    @property
    def data_regime(self) -> str:
        """The least data that its parts need: "T0" texts, "T1" unpaired images too, "T4" pairs."""
        if self.config.input_modality == "image":
            return "T4"
        noise_data_regime = {"auto-unpaired": "T1", "auto-paired": "T4"}.get(str(self.config.noise), "T0")
        return max(noise_data_regime, *(ADAPTERS[step["name"]].data_regime for step in self.steps))

    def file_name(self, study: StudyRealVectorsConfig) -> str:
        """What its answers are kept under; follows from what it is, not from its name."""
        config = self.config
        if self.is_plain and not isinstance(config.noise, str):
            return f"{config.input_modality}-{config.noise:g}"
        parts = [
            config.model_dump_json(exclude=set(list_fields(RealSystemConfig, Role.LABEL))),
            f"rule {config.rule or DEFAULT_NOISE_RULE}",
        ]
        parts += [f"pairs {study.num_pairs}"] if config.noise == "auto-paired" else []
        parts += [f"temperature {study.text_memory_temperature}"] if config.text_memory else []
        return f"{config.input_modality}-{fingerprint(parts)[:10]}"

    @property
    def is_plain(self) -> bool:
        """Whether noise is all there is to it."""
        return not self.config.adapter and not self.config.text_memory


def list_systems(config: StudyRealVectorsConfig) -> list[System]:
    """Text at every noise, then the others that are named, then images without noise."""
    systems = []
    for noise in config.noises:
        name = f"text, noise {noise:g}" if noise else "text, no noise"
        systems.append(System(RealSystemConfig(name=name, noise=noise)))
    systems += [System(system_config) for system_config in config.systems]
    return [*systems, System(RealSystemConfig(name="images, no noise", input_modality="image", noise=0.0))]


def assign_folds(num_pairs: int, folds: int) -> NDArray[np.int64]:
    """The fold of each pair, by a shuffle that is always the same; shape (pairs,)."""
    folded = np.arange(num_pairs) % folds
    return np.random.default_rng(0).permutation(folded)


def fit_for(system: System, pairs: Pairs, visible: NDArray[np.int64], num_pairs: int) -> Statistics:
    """What `compute_statistics.py` would fit on the pairs that may be seen: unpaired halves, or some pairs.

    Args:
        system: whose chain is fitted; statistics are of all its vectors where it needs none.
        pairs: all of them.
        visible: positions of those that may be seen.
        num_pairs: how many of them `auto-paired` sees.
    """
    before = drop_noise_steps(system.steps)
    shuffled = np.random.default_rng(0).permutation(visible)
    text_rows, image_rows = np.sort(shuffled[: len(shuffled) // 2]), np.sort(shuffled[len(shuffled) // 2 :])
    unpaired_vectors = normalize_rows(pairs.texts[text_rows]), normalize_rows(pairs.images[image_rows])

    def measure(steps: Steps, known: Statistics) -> Statistics:
        if not drop_noise_steps(steps):
            return measure_statistics(*unpaired_vectors)
        texts, images = unpaired_vectors
        return measure_statistics(
            apply_adapters(steps, known, texts, "text"), apply_adapters(steps, known, images, "image")
        )

    statistics = fit_in_sequence(system.steps, Statistics(measure([], Statistics({})).arrays), measure)

    def adapt_groups(vectors: GroupedVectors) -> GroupedVectors:
        return apply_adapters_to_groups(before, statistics, vectors)

    noise: dict[str, Any] = {}
    if system.config.noise == "auto-unpaired":
        texts = adapt_groups(GroupedVectors(normalize_rows(pairs.texts[text_rows]), np.arange(len(text_rows))))
        images = adapt_groups(
            GroupedVectors(
                normalize_rows(pairs.texts[image_rows]),
                np.arange(len(image_rows)),
                normalize_rows(pairs.images[image_rows]),
            )
        )
        assert images.images is not None
        noise["unpaired"] = asdict(choose_unpaired(texts, images.images))
    elif system.config.noise == "auto-paired":
        pair_rows = np.sort(shuffled[:num_pairs])
        paired_vectors = GroupedVectors(
            normalize_rows(pairs.texts[pair_rows]), np.arange(len(pair_rows)), normalize_rows(pairs.images[pair_rows])
        )
        noise["paired"] = asdict(choose_paired(adapt_groups(paired_vectors)))
    facts = {"num_texts": len(text_rows), "chain": before, "noise_behind": before, "noise": noise}
    return Statistics(statistics.arrays, facts)


def fit_chain(system: System, pairs: Pairs, visible: NDArray[np.int64], num_pairs: int) -> AdapterChain:
    """The adapters of a system, with their noise, fitted on the pairs that may be seen; arguments as `fit_for`."""
    fitted = fit_for(system, pairs, visible, num_pairs)
    noise = system.config.noise
    if noise == "auto":
        strings = tuple(pairs.captions[i] for i in visible)
        texts = GroupedVectors(normalize_rows(pairs.texts[visible]), np.arange(len(visible)), None, strings)
        noise = choose_from_texts(
            system.config.rule or DEFAULT_NOISE_RULE,
            apply_adapters_to_groups(drop_noise_steps(system.steps), fitted, texts),
            0,
        ).std
    elif isinstance(noise, str):
        noise = fitted.facts["noise"][noise.removeprefix("auto-")]["std"]
    return AdapterChain(system.steps, AdapterContext(pairs.texts.shape[1], float(noise), fitted))
