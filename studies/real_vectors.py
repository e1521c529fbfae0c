"""Cross-validation of text-only training on real CLIP vectors, over noise scales, adapters and seeds.

Each system is trained on the caption vectors of four folds and tested on the image vectors of the fifth, with the same
code as `train_text_only.py`. The upper bound is trained on image vectors. Every image is tested once per system and
seed, so scores are means over all pairs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float64Array
from close_transfer.core.atomic_files import write_json
from close_transfer.core.console import show
from close_transfer.core.markdown import format_table
from close_transfer.core.pages import write_page
from close_transfer.metrics.bootstrap import average_scores, compare_paired_means
from close_transfer.metrics.captions import score_captions
from close_transfer.modality_gap.keyword_probe import build_keyword_matrix, compute_average_precisions, score_probe
from close_transfer.models.adapters import AdapterChain
from studies.config import StudyRealVectorsConfig
from studies.real_baselines import NEAREST, find_nearest_captions, find_nearest_keywords
from studies.real_captions import caption_all
from studies.real_pairs import Pairs, assign_folds, fit_chain, list_systems

Chains = dict[str, list[AdapterChain]]  # adapters of each system by its name, one chain per fold
_OTHER_METRICS = ("BLEU-4", "METEOR")


def fit_chains(config: StudyRealVectorsConfig, pairs: Pairs) -> Chains:
    """Fit the adapters and choose the noise of each system, once per fold on the pairs of all other folds."""
    folds = assign_folds(len(pairs.captions), config.folds)
    return {
        system.name: [
            fit_chain(system, pairs, np.flatnonzero(folds != fold), config.num_pairs) for fold in range(config.folds)
        ]
        for system in tqdm(list_systems(config), unit="system", desc="fitting adapters")
    }


def build_caption_table(config: StudyRealVectorsConfig, pairs: Pairs, chains: Chains) -> dict[str, dict[str, Any]]:
    """Return caption scores of each system over all images, mean over seeds, with 95% intervals over images.

    CIDEr's document frequencies come from the references of all pairs, so they are the same for all systems.
    """
    captions = caption_all(config)
    scored = {
        system.name: [
            score_captions(
                [captions[system.name, seed][row] for row in range(len(pairs.captions))], pairs.references, 2
            )
            for seed in range(config.seeds)
        ]
        for system in list_systems(config)
    }
    scored[NEAREST] = [score_captions(find_nearest_captions(pairs, config.folds), pairs.references, 2)]
    by_seed = {name: np.array([scores.per_example for scores in all_scores]) for name, all_scores in scored.items()}
    table = _build_table(config, "CIDEr", by_seed, chains)
    for name, all_scores in scored.items():
        for metric in _OTHER_METRICS:
            table[name]["metrics"][metric] = float(np.mean([scores.metrics[metric] for scores in all_scores]))
    return table


def score_probes(config: StudyRealVectorsConfig, pairs: Pairs, chains: Chains) -> dict[str, dict[str, Any]]:
    """Return the mean average precision of keywords for each system, mean over seeds, with 95% intervals over images."""
    _, labels = build_keyword_matrix(pairs.references, config.least_keyword, config.most_keyword)
    has_keyword = labels.any(axis=1)
    folds = assign_folds(len(labels), config.folds)
    by_seed: dict[str, list[Float64Array]] = {system.name: [] for system in list_systems(config)}
    for system in tqdm(list_systems(config), unit="probe"):
        source = pairs.texts if system.config.input_modality == "text" else pairs.images
        input_modality: InputModality = "text" if system.config.input_modality == "text" else "image"
        temperature = config.text_memory_temperature if system.config.text_memory else None
        for seed in range(config.seeds):
            scores = np.zeros(labels.shape)
            for fold, chain in enumerate(chains[system.name]):
                is_train = folds != fold
                scores[~is_train] = score_probe(
                    source[is_train],
                    labels[is_train],
                    pairs.images[~is_train],
                    chain.train(),
                    seed,
                    input_modality,
                    temperature,
                )
            by_seed[system.name].append(100 * compute_average_precisions(scores[has_keyword], labels[has_keyword]))
    nearest = find_nearest_keywords(pairs, labels, config.folds)
    by_seed[NEAREST] = [100 * compute_average_precisions(nearest[has_keyword], labels[has_keyword])]
    return _build_table(config, "mAP", {name: np.array(values) for name, values in by_seed.items()}, chains)


def _build_table(
    config: StudyRealVectorsConfig, metric: str, by_seed: dict[str, Float64Array], chains: Chains
) -> dict[str, dict[str, Any]]:
    """Return each system's mean over seeds, its interval over images and its paired differences from reference systems.

    Args:
        config: settings of the study.
        metric: name of the score.
        by_seed: scores of each system, shape (seeds, images).
        chains: adapters of each trained system, one chain per fold.
    """
    per_image = {name: values.mean(axis=0) for name, values in by_seed.items()}
    clean, *_, images = list_systems(config)
    scales = [
        system
        for system in list_systems(config)
        if system.is_plain and system.data_regime == "T0" and system.config.noise != "auto"
    ]
    best = max((system.name for system in scales), key=lambda name: per_image[name].mean())
    bounds = {clean.name.removeprefix("text, "): clean.name, "images": images.name, "the best noise": best}
    table: dict[str, dict[str, Any]] = {}
    data_regimes = {system.name: system.data_regime for system in list_systems(config)} | {NEAREST: "T0"}
    for name_of_system, values in per_image.items():
        means, intervals = average_scores({metric: values}, config.num_bootstrap)
        differences = {}
        for name, bound in bounds.items():
            comparison = compare_paired_means(values, per_image[bound], config.num_bootstrap)
            differences[name] = [comparison.difference, comparison.low, comparison.high]
        table[name_of_system] = {
            "data_regime": data_regimes[name_of_system],
            "noise by fold": [chain.noise_std for chain in chains.get(name_of_system, [])],
            "metrics": means,
            "intervals": intervals,
            "by seed": by_seed[name_of_system].mean(axis=1).tolist(),
            "differences": differences,
        }
    return table


def _format_result_table(table: dict[str, dict[str, Any]], leading: str) -> str:
    others = [name for name in next(iter(table.values()))["metrics"] if name != leading]
    header = [
        "trained on",
        "sees",
        "noise",
        leading,
        "seeds",
        "against no noise",
        "against images",
        "against the best noise",
        *others,
    ]
    lines = []
    for name, row in table.items():
        low, high = row["intervals"][leading]
        metrics, seeds = row["metrics"], row["by seed"]
        cells = [
            name,
            row["data_regime"],
            f"{np.mean(row['noise by fold']):.3f}" if row["noise by fold"] else "",
            f"{metrics[leading]:.1f} ({low:.1f} to {high:.1f})",
            f"{min(seeds):.1f} to {max(seeds):.1f}" if row["noise by fold"] else "",
        ]
        for value, *ends in row["differences"].values():
            cells.append(f"{value:+.1f} ({ends[0]:+.1f} to {ends[1]:+.1f})" if value or any(ends) else "")
        lines.append([*cells, *(f"{metrics[other]:.1f}" for other in others)])
    return format_table(header, lines)


def _format_markdown(tables: Sequence[tuple[str, str, dict[str, dict[str, Any]]]]) -> str:
    return "\n".join(
        line for title, leading, table in tables for line in (title, "", _format_result_table(table, leading), "")
    )


def run_study(config: StudyRealVectorsConfig) -> str:
    """Run the missing trainings, write tables.json and tables.md, and return the tables as Markdown.

    Raises:
        UserError: if the pairs or the language model cannot be used.
    """
    pairs = Pairs.read(Path(config.pairs))
    keywords, _ = build_keyword_matrix(pairs.references, config.least_keyword, config.most_keyword)
    description = f"{len(pairs.captions)} pairs, {config.folds} folds, {config.seeds} seeds"
    chains = fit_chains(config, pairs)
    probe = score_probes(config, pairs, chains)
    tables = [(f"{len(keywords)} keywords, {description}", "mAP", probe)]
    if config.language_model is not None:
        tables.append((f"captions, {description}", "CIDEr", build_caption_table(config, pairs, chains)))
    text = _format_markdown(tables)
    folder = Path(config.output)
    write_json(
        folder / "tables.json", {"config": config.model_dump(), "tables": {title: table for title, _, table in tables}}
    )
    write_page(folder / "tables.md", text)
    return text


def main(config: StudyRealVectorsConfig) -> None:
    """Run the study, and print its table."""
    show(run_study(config))
