"""Real CLIP vectors of a few hundred caption-image pairs, in folds, and the systems that are trained on them."""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from close_transfer.cli import compose_config
from close_transfer.config.train import DEFAULT_NOISE_RULE, TrainConfig
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
    """Caption-image pairs; row i of each attribute belongs to pair i.

    Attributes:
        captions: captions to train on.
        references: all captions of each image.
        texts: caption vectors, shape (pairs, dim).
        images: image vectors, shape (pairs, dim).
    """

    captions: list[str]
    references: list[tuple[str, ...]]
    texts: NDArray[np.floating]
    images: NDArray[np.floating]

    @classmethod
    def read(cls, folder: Path) -> "Pairs":
        """Read captions.jsonl, caption_embeddings.npy and image_embeddings.npy.

        Raises:
            UserError: if a file is missing or damaged, or if their numbers of rows differ.
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
                f"pairs={folder}: has {len(rows)} captions, {len(texts)} caption vectors and {len(images)} image vectors. "
                "Give files in which row i of each belongs to the same pair"
            )
        return cls([caption for caption, _ in rows], [references for _, references in rows], texts, images)


@cache
def _compose_steps(adapters: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a chain of adapters with the defaults of their YAML files."""
    return compose_config("train", TrainConfig, [f"adapter=[{','.join(adapters)}]"]).adapter.list_steps()


@dataclass(frozen=True)
class System:
    """System of the study, a row of its tables."""

    config: RealSystemConfig

    @property
    def name(self) -> str:
        """Return the name that tables print."""
        return self.config.name

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Return the adapters before the noise, then the noise."""
        return _compose_steps((*self.config.adapter, "gaussian"))

    @property
    def data_regime(self) -> str:
        """Return the least data that its parts need: "T0" texts, "T1" unpaired images too, "T4" pairs."""
        if self.config.input_modality == "image":
            return "T4"
        noise_data_regime = {"auto-unpaired": "T1", "auto-paired": "T4"}.get(str(self.config.noise), "T0")
        return max(noise_data_regime, *(ADAPTERS[step["name"]].data_regime for step in self.steps))

    def make_file_name(self, study: StudyRealVectorsConfig) -> str:
        """Return the stem of its caption files; it depends on the settings and not on the name, so a rename keeps them."""
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
        """Return True if the system has noise only: no adapter and no text memory."""
        return not self.config.adapter and not self.config.text_memory


def list_systems(config: StudyRealVectorsConfig) -> list[System]:
    """Return text at every noise scale, then the systems of the settings, then images without noise."""
    systems = []
    for noise in config.noises:
        name = f"text, noise {noise:g}" if noise else "text, no noise"
        systems.append(System(RealSystemConfig(name=name, noise=noise)))
    systems += [System(system_config) for system_config in config.systems]
    return [*systems, System(RealSystemConfig(name="images, no noise", input_modality="image", noise=0.0))]


def assign_folds(num_pairs: int, folds: int) -> NDArray[np.int64]:
    """Return the fold of each pair, shape (pairs,)."""
    folded = np.arange(num_pairs) % folds
    return np.random.default_rng(0).permutation(folded)  # a fixed seed, so that all systems share the folds


def fit_statistics(system: System, pairs: Pairs, visible: NDArray[np.int64], num_pairs: int) -> Statistics:
    """Fit a system's adapters as `compute_statistics.py` would: on unpaired halves of the visible pairs, or on pairs.

    Args:
        system: system whose adapters are fitted; without any, statistics of its vectors are returned.
        pairs: all pairs.
        visible: rows of the training pairs.
        num_pairs: number of training pairs that `auto-paired` uses.
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
    facts = {
        "data": "pairs",
        "split": "train",
        "num_texts": len(text_rows),
        "chain": before,
        "noise_behind": before,
        "noise": noise,
    }
    return Statistics(statistics.arrays, facts)


def fit_chain(system: System, pairs: Pairs, visible: NDArray[np.int64], num_pairs: int) -> AdapterChain:
    """Build the adapters of a system with their noise, fitted on the visible pairs; arguments as of `fit_statistics`."""
    statistics = fit_statistics(system, pairs, visible, num_pairs)
    noise = system.config.noise
    if noise == "auto":
        strings = tuple(pairs.captions[i] for i in visible)
        texts = GroupedVectors(normalize_rows(pairs.texts[visible]), np.arange(len(visible)), None, strings)
        noise = choose_from_texts(
            system.config.rule or DEFAULT_NOISE_RULE,
            apply_adapters_to_groups(drop_noise_steps(system.steps), statistics, texts),
            0,
        ).std
    elif isinstance(noise, str):
        noise = statistics.facts["noise"][noise.removeprefix("auto-")]["std"]
    return AdapterChain(system.steps, AdapterContext(pairs.texts.shape[1], float(noise), statistics))
