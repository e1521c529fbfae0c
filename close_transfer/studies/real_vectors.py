"""Text-only training on real CLIP vectors: five folds over a few hundred pairs, several noises and seeds.

Trains on the caption vectors of four folds and asks the picture vectors of the fifth, with the same code
as `train_text_only.py`; and on the picture vectors of four folds, as the upper bound. Every picture is
asked once for every noise and seed, so scores are over all pairs.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from close_transfer.assembly import train
from close_transfer.cli import compose_config
from close_transfer.config import TrainConfig
from close_transfer.config.studies import RealVectorsConfig
from close_transfer.decoding import Decoder
from close_transfer.encoders.precomputed import read_array
from close_transfer.errors import UserError
from close_transfer.files import fingerprint, read_json, write_json, write_text
from close_transfer.keyword_probe import average_precisions, keyword_matrix, probe_scores
from close_transfer.metrics.bootstrap import mean_scores, paired_mean_difference
from close_transfer.metrics.captions import caption_scores
from close_transfer.parts import load_model
from close_transfer.sources.faults import Fault, Faults
from close_transfer.sources.records import read_lines, text_field, texts_field

Floats = NDArray[np.float64]
_OTHER_METRICS = ("BLEU-4", "METEOR")


@dataclass(frozen=True)
class System:
    """What is trained on, and with how much noise; `noise` is a standard deviation per coordinate."""

    trained_on: str
    noise: float

    @property
    def name(self) -> str:
        """As tables print it."""
        return f"{self.trained_on}, {f'noise {self.noise:g}' if self.noise else 'no noise'}"


@dataclass(frozen=True)
class Pairs:
    """Captions, all their pictures' captions, and the vectors of both; row i belongs to row i."""

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
        faults, rows = Faults(path, "error"), []
        for line, record in read_lines(path, "pairs"):
            try:
                rows.append((text_field(record, "caption"), texts_field(record, "references")))
            except Fault as fault:
                faults.add(f"line {line}", fault)
        faults.settle(len(rows))
        texts, images = (read_array(folder / f"{name}_embeddings.npy", "pairs") for name in ("caption", "image"))
        if not len(texts) == len(images) == len(rows):
            raise UserError(
                f"pairs={folder}: {len(rows)} captions, {len(texts)} caption vectors and {len(images)} picture vectors; row i of each must belong together"
            )
        return cls([caption for caption, _ in rows], [told for _, told in rows], texts, images)


def systems(config: RealVectorsConfig) -> list[System]:
    """Text at every noise, then pictures without noise."""
    return [*(System("text", noise) for noise in config.noises), System("pictures", 0.0)]


def fold_of(num_pairs: int, folds: int) -> NDArray[np.int64]:
    """The fold of each pair, by a shuffle that is always the same; shape (pairs,)."""
    folded = np.arange(num_pairs) % folds
    return np.random.default_rng(0).permutation(folded)


def _training_settings(config: RealVectorsConfig, system: System, seed: int, folder: Path) -> list[str]:
    table = folder / "captions.jsonl"
    return [
        "task=captioning", "data=table", f"data.path={table}", f"data.val_path={table}", "data.text_column=caption",
        "clip=precomputed", f"clip.text_embeddings={folder / 'texts.npy'}", f"clip.image_embeddings={folder / 'images.npy'}",
        f"lm={config.language_model}", f"lm.learning_rate={config.learning_rate}", f"noise={system.noise}", f"seed={seed}",
        f"train.epochs={config.epochs}", f"train.batch_size={config.batch_size}", "train.validations=1",
        "train.tensorboard=false", f"task.max_target_tokens={config.max_target_tokens}", "device=cpu",
        f"output={folder / 'run'}", f"runs={folder / 'runs'}",
    ]  # fmt: skip


def captions_of_fold(config: RealVectorsConfig, system: System, fold: int, seed: int) -> dict[int, str]:
    """Trains without one fold and captions its pictures; caption by row."""
    torch.set_num_threads(1)
    pairs = Pairs.read(Path(config.pairs))
    held_out = fold_of(len(pairs.captions), config.folds) == fold
    with tempfile.TemporaryDirectory() as name, Path(os.devnull).open("w") as nowhere:
        folder = Path(name)
        kept = np.flatnonzero(~held_out)
        write_text(folder / "captions.jsonl", "".join(json.dumps({"caption": pairs.captions[i]}) + "\n" for i in kept))
        np.save(folder / "texts.npy", pairs.texts[kept])
        np.save(folder / "images.npy", pairs.images[kept])
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            settings = compose_config("train", TrainConfig, _training_settings(config, system, seed, folder))
            run, _ = train(settings, "text" if system.trained_on == "text" else "images")
            model, tokenizer = load_model(run, "last", "cpu")
            rows = np.flatnonzero(held_out)
            vectors = np.asarray(pairs.images[rows], dtype=np.float32)
            decoder = Decoder(model, tokenizer, config.num_beams)
            answers = decoder.predict([str(row) for row in rows], vectors.__getitem__, [""] * len(rows))
    return {int(answer.id): answer.text for answer in answers}


def _key(config: RealVectorsConfig) -> str:
    """Of all that decides an answer, so that a changed setting does not meet old answers."""
    same = config.model_dump(
        exclude={"output", "jobs", "noises", "seeds", "num_bootstrap", "least_keyword", "most_keyword"}
    )
    weights = Path(str(config.language_model)) / "model.safetensors"
    return fingerprint([json.dumps(same, sort_keys=True), weights.read_bytes() if weights.is_file() else b""])[:12]


def all_captions(config: RealVectorsConfig) -> dict[tuple[System, int], dict[int, str]]:
    """Captions of all pictures by system and seed; what was done before is read back."""
    folder = Path(config.output) / f"captions-{_key(config)}"
    wanted = {
        (system, seed, fold): folder / f"{system.trained_on}-{system.noise:g}-seed{seed}-fold{fold}.json"
        for system in systems(config)
        for seed in range(config.seeds)
        for fold in range(config.folds)
    }
    missing = [job for job, path in wanted.items() if not path.is_file()]
    # Threads of one training get in the way of the other's.
    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        ProcessPoolExecutor(config.jobs, mp_context=get_context("spawn")) as pool,
        tqdm(total=len(wanted), initial=len(wanted) - len(missing), unit="training") as bar,
    ):
        futures = {
            pool.submit(captions_of_fold, config, system, fold, seed): (system, seed, fold)
            for system, seed, fold in missing
        }
        for future in as_completed(futures):
            write_json(wanted[futures[future]], future.result())
            bar.update()
    captions: dict[tuple[System, int], dict[int, str]] = {}
    for (system, seed, _), path in wanted.items():
        captions.setdefault((system, seed), {}).update({int(row): text for row, text in read_json(path).items()})
    return captions


def caption_table(config: RealVectorsConfig, pairs: Pairs) -> dict[str, dict[str, Any]]:
    """Scores of each system over all pictures, mean of the seeds, with 95% intervals over pictures.

    CIDEr has one document-frequency table for all systems, that of all pairs' captions.
    """
    captions = all_captions(config)
    scored = {
        system: [
            caption_scores([captions[system, seed][row] for row in range(len(pairs.captions))], pairs.references, 2)
            for seed in range(config.seeds)
        ]
        for system in systems(config)
    }
    by_seed = {system: np.array([one.per_example for one in scores]) for system, scores in scored.items()}
    table = _table(config, "CIDEr", by_seed)
    for system, scores in scored.items():
        for name in _OTHER_METRICS:
            table[system.name]["metrics"][name] = float(np.mean([one.metrics[name] for one in scores]))
    return table


def probe_table(config: RealVectorsConfig, pairs: Pairs) -> dict[str, dict[str, Any]]:
    """Mean average precision of keywords for each system, seeds averaged, with 95% intervals over pictures."""
    _, labels = keyword_matrix(pairs.references, config.least_keyword, config.most_keyword)
    told = labels.any(axis=1)
    folds = fold_of(len(labels), config.folds)
    by_seed: dict[System, list[Floats]] = {system: [] for system in systems(config)}
    for system in tqdm(systems(config), unit="probe"):
        source = pairs.texts if system.trained_on == "text" else pairs.images
        for seed in range(config.seeds):
            scores = np.zeros(labels.shape)
            for fold in range(config.folds):
                kept = folds != fold
                scores[~kept] = probe_scores(source[kept], labels[kept], pairs.images[~kept], system.noise, seed)
            by_seed[system].append(100 * average_precisions(scores[told], labels[told]))
    return _table(config, "mAP", {system: np.array(values) for system, values in by_seed.items()})


def _table(config: RealVectorsConfig, metric: str, by_seed: dict[System, Floats]) -> dict[str, dict[str, Any]]:
    """Mean of the seeds, with its interval over pictures and its paired differences from some systems.

    Args:
        config: how often to resample.
        metric: the name of what is measured.
        by_seed: of each system, shape (seeds, pictures).
    """
    per_picture = {system: values.mean(axis=0) for system, values in by_seed.items()}
    clean, *_, pictures = systems(config)
    best = max((one for one in per_picture if one.trained_on == "text"), key=lambda one: per_picture[one].mean())
    bounds = {"no noise": clean, "pictures": pictures, "the best text": best}
    table = {}
    for system, values in per_picture.items():
        means, intervals = mean_scores({metric: values}, config.num_bootstrap)
        differences = {}
        for name, bound in bounds.items():
            one = paired_mean_difference(values, per_picture[bound], config.num_bootstrap)
            differences[name] = [one.difference, one.low, one.high]
        table[system.name] = {
            "metrics": means,
            "intervals": intervals,
            "by seed": by_seed[system].mean(axis=1).tolist(),
            "differences": differences,
        }
    return table


def _rows(table: dict[str, dict[str, Any]], leading: str) -> Iterator[str]:
    others = [name for name in next(iter(table.values()))["metrics"] if name != leading]
    head = ["trained on", leading, "seeds", "against no noise", "against pictures", "against the best text", *others]
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for name, row in table.items():
        low, high = row["intervals"][leading]
        metrics, seeds = row["metrics"], row["by seed"]
        cells = [name, f"{metrics[leading]:.1f} ({low:.1f} to {high:.1f})", f"{min(seeds):.1f} to {max(seeds):.1f}"]
        for value, *ends in row["differences"].values():
            cells.append(f"{value:+.1f} ({ends[0]:+.1f} to {ends[1]:+.1f})" if value or any(ends) else "")
        yield f"| {' | '.join([*cells, *(f'{metrics[other]:.1f}' for other in others)])} |"


def _markdown(tables: Sequence[tuple[str, str, dict[str, dict[str, Any]]]]) -> str:
    return "\n".join(line for title, leading, table in tables for line in (title, "", *_rows(table, leading), ""))


def study(config: RealVectorsConfig) -> str:
    """Runs what is missing, writes results.json and results.md, gives the tables as Markdown.

    Raises:
        UserError: if the pairs or the language model cannot be used.
    """
    pairs = Pairs.read(Path(config.pairs))
    keywords, _ = keyword_matrix(pairs.references, config.least_keyword, config.most_keyword)
    what = f"{len(pairs.captions)} pairs, {config.folds} folds, {config.seeds} seeds"
    probe = probe_table(config, pairs)
    tables = [(f"{len(keywords)} keywords, {what}", "mAP", probe)]
    if config.language_model is not None:
        tables.append((f"captions, {what}", "CIDEr", caption_table(config, pairs)))
    text = _markdown(tables)
    folder = Path(config.output)
    write_json(
        folder / "results.json", {"config": config.model_dump(), "tables": {title: table for title, _, table in tables}}
    )
    write_text(folder / "results.md", text)
    return text
