"""Captions of real image vectors, written by models that were trained on the other folds."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core.atomic_files import fingerprint, read_json, write_json, write_text
from close_transfer.core.errors import UserError
from close_transfer.core.roles import Role, drop_settings
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.inference.loading import load_model
from close_transfer.models.text_memory import ExactMemory
from close_transfer.pipelines.train import train
from studies.config import StudyRealVectorsConfig
from studies.jobs import run_in_workers
from studies.real_pairs import Pairs, System, assign_folds, fit_statistics, list_systems


def _list_training_settings(config: StudyRealVectorsConfig, system: System, seed: int, folder: Path) -> list[str]:
    table = folder / "captions.jsonl"
    needs_images = system.config.adapter or system.config.noise in ("auto-unpaired", "auto-paired")
    statistics = [f"statistics={folder / 'statistics'}"] if needs_images else []
    return [
        "task=captioning", "data=file", f"data.path={table}", f"data.val_path={table}", "data.text_column=caption",
        "clip=precomputed", f"clip.text_embeddings={folder / 'texts.npy'}", f"clip.image_embeddings={folder / 'images.npy'}",
        f"lm={config.language_model}", f"lm.learning_rate={config.learning_rate}", f"noise={system.config.noise}", f"seed={seed}",
        *([f"noise_rule={system.config.rule}"] if system.config.rule else []),
        f"adapter=[{','.join(step['name'] for step in system.steps)}]", *statistics,
        f"train.epochs={config.epochs}", f"train.batch_size={config.batch_size}", "train.num_validations=1",
        "train.tensorboard=false", f"task.max_target_tokens={config.max_target_tokens}", "device=cpu",
        f"output={folder / 'run'}", f"runs={folder / 'runs'}",
    ]  # fmt: skip


def caption_fold(config: StudyRealVectorsConfig, system: System, fold: int, seed: int) -> dict[int, str]:
    """Train on all folds but one, and return captions of that fold's images by row."""
    torch.set_num_threads(1)
    pairs = Pairs.read(Path(config.pairs))
    held_out = assign_folds(len(pairs.captions), config.folds) == fold
    with tempfile.TemporaryDirectory() as name, Path(os.devnull).open("w") as nowhere:
        folder = Path(name)
        train_rows = np.flatnonzero(~held_out)
        write_text(
            folder / "captions.jsonl", "".join(json.dumps({"caption": pairs.captions[i]}) + "\n" for i in train_rows)
        )
        np.save(folder / "texts.npy", pairs.texts[train_rows])
        np.save(folder / "images.npy", pairs.images[train_rows])
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            fit_statistics(system, pairs, train_rows, config.num_pairs).save(folder / "statistics")
            settings = compose_config("train", TrainConfig, _list_training_settings(config, system, seed, folder))
            run, outcome = train(settings, system.config.input_modality)
            if outcome.stopped_early:
                raise UserError("training was stopped early. Run the same command to continue after the finished folds")
            model, tokenizer = load_model(run, "last", "cpu")
            test_rows = np.flatnonzero(held_out)
            vectors = np.asarray(pairs.images[test_rows], dtype=np.float32)
            if system.config.text_memory:
                texts = model.adapter(torch.from_numpy(np.asarray(pairs.texts[train_rows], dtype=np.float32)), "text")
                model.text_memory = ExactMemory(texts.detach().numpy(), config.text_memory_temperature)
            decoder = Decoder(model, tokenizer, Decoding(config.num_beams))
            answers = decoder.predict([str(row) for row in test_rows], vectors.__getitem__, [""] * len(test_rows))
    return {int(answer.id): answer.text for answer in answers}


def _compute_key(config: StudyRealVectorsConfig) -> str:
    """Return a key of everything that decides a caption, so that changed settings do not reuse old captions."""
    roles = (Role.LOCATION, Role.THROUGHPUT, Role.REPORTING, Role.KEYED)
    settings = drop_settings(StudyRealVectorsConfig, config.model_dump(), *roles)
    weights = Path(str(config.language_model)) / "model.safetensors"
    return fingerprint([json.dumps(settings, sort_keys=True), weights.read_bytes() if weights.is_file() else b""])[:12]


def caption_all(config: StudyRealVectorsConfig) -> dict[tuple[str, int], dict[int, str]]:
    """Return captions of all images by system and seed; finished ones are read from their files."""
    folder = Path(config.output) / f"captions-{_compute_key(config)}"
    path_by_job = {
        (system.name, seed, fold): folder / f"{system.make_file_name(config)}-seed{seed}-fold{fold}.json"
        for system in list_systems(config)
        for seed in range(config.seeds)
        for fold in range(config.folds)
    }
    missing = [job for job, path in path_by_job.items() if not path.is_file()]
    by_name = {system.name: system for system in list_systems(config)}
    with tqdm(total=len(path_by_job), initial=len(path_by_job) - len(missing), unit="training") as bar:
        arguments = ((config, by_name[name], fold, seed) for name, seed, fold in missing)
        for position, captions_by_row in run_in_workers(caption_fold, arguments, config.num_workers):
            write_json(path_by_job[missing[position]], captions_by_row)
            bar.update()
    captions: dict[tuple[str, int], dict[int, str]] = {}
    for (name, seed, _), path in path_by_job.items():
        captions.setdefault((name, seed), {}).update({int(row): text for row, text in read_json(path).items()})
    return captions
