"""probe_encoder.py: probe an encoder by simple classifiers on its vectors, and classify without training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.components import ClipConfig
from close_transfer.config.data import DataConfig
from close_transfer.config.probe_encoder import ProbeEncoderConfig
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.classification import (
    Classification,
    hold_out,
    number_classes,
    read_class_folders,
    take_texts_as_classes,
)
from close_transfer.data.examples import Example
from close_transfer.data.picturebook.classes import load_scene_classes
from close_transfer.encoders import AnyEncoder
from close_transfer.encoders.build import build_encoder
from close_transfer.encoders.embeddings import SceneVectors, encode_image_scenes, encode_texts
from close_transfer.evaluation.probes.attention_pool import predict_attention_pool
from close_transfer.evaluation.probes.few_shot import draw_shots, predict_few_shot
from close_transfer.evaluation.probes.linear import predict_linear
from close_transfer.evaluation.probes.record import ProbeRecord, write_probes
from close_transfer.evaluation.probes.zero_shot import average_class_vectors, predict_zero_shot, write_class_texts
from close_transfer.evaluation.results import Results
from close_transfer.models.device import pick_device
from close_transfer.pipelines import console
from close_transfer.reports.probe_report import describe_probes, write_probe_report
from close_transfer.tasks.captioning import Captioning
from close_transfer.tasks.loading import load_task_examples


@dataclass
class _Encoders:
    """Encoder with pooled vectors, and the same encoder with a grid of vectors if it has one."""

    pooled: AnyEncoder
    grid: AnyEncoder | None = None
    notes: list[str] = field(default_factory=list)


def _set_features(clip: ClipConfig, features: str) -> ClipConfig:
    """Return the settings with these features; unchanged for a kind of encoder that has no choice."""
    return clip.model_copy(update={"features": features}) if "features" in type(clip).model_fields else clip


def _build_encoders(config: ProbeEncoderConfig, device: str) -> _Encoders:
    clip, data = config.clip, config.data
    encoders = _Encoders(build_encoder(_set_features(clip, "pooled"), data, device, texts_needed=False))
    if "attention_pool" in config.probes:
        try:
            encoders.grid = build_encoder(_set_features(clip, "grid"), data, device, texts_needed=False)
        except UserError as error:  # an encoder without a grid still has the other probes
            encoders.notes.append(f"attention_pool was left out. {error}")
    return encoders


def _load_table(data: DataConfig, split: str, images_needed: bool) -> list[Example]:
    # Classes are names, often of one word or a number, so the check of sentences does not apply.
    unchecked = data.model_copy(update={"check_text": False})
    loaded = load_task_examples(Captioning.name, unchecked, split, images_needed=images_needed)
    return take_texts_as_classes(loaded.examples)


def _collect_classes(name: str, training: Sequence[Example], testing: Sequence[Example]) -> Classification:
    return Classification(name, tuple(sorted({example.category for example in training})), training, testing)


def load_classifications(config: ProbeEncoderConfig) -> list[Classification]:
    """Load the images and their classes.

    Raises:
        UserError: if data= has no classes, or the images cannot be used.
    """
    if config.images is not None:
        training = read_class_folders(Path(config.images), "images")
        if config.test_images is not None:
            testing = read_class_folders(Path(config.test_images), "test_images")
        else:
            training, testing = hold_out(training, config.test_share, config.seed)
        return [_collect_classes("classes", training, testing)]
    data, split = config.data, config.used_split
    assert split is not None
    if data.is_generated:
        return load_scene_classes(data, config.targets, split)  # type: ignore[arg-type]  # Picturebook's settings
    if not data.is_table:
        raise UserError(
            f"data={data.name} has captions and no classes. Use data=picturebook, data=file or data=huggingface with the "
            "class as text, or images=FOLDER with a subfolder per class"
        )
    training, testing = (_load_table(data, name, config.clip.encodes_images) for name in ("train", split))
    return [_collect_classes("classes", training, testing)]


def _gather(vectors: SceneVectors) -> Any:
    """Return one vector per image; that of a grid is the mean of its cells."""
    gathered = vectors[np.arange(len(vectors))]
    return gathered.mean(axis=1) if gathered.ndim == 3 else gathered


def _probe(config: ProbeEncoderConfig, encoders: _Encoders, task: Classification, device: str) -> ProbeRecord:
    """Run all probes of one classification."""
    num_classes, cache = len(task.classes), config.embedding_cache
    labels = number_classes(task.training, task.classes)
    record = ProbeRecord(task, labels, number_classes(task.testing, task.classes))
    pooled = [encode_image_scenes(encoders.pooled, part, cache) for part in (task.training, task.testing)]
    training, testing = map(_gather, pooled)
    if "few_shot" in config.probes:
        settings = config.few_shot
        seeds = range(config.seed, config.seed + settings.num_seeds)
        for shots in settings.shots:
            record.predictions[f"few_shot_{shots}"] = predict_few_shot(
                training, labels, testing, num_classes, shots, seeds, settings.l2
            )
            num_short = int((np.bincount(labels, minlength=num_classes) < shots).sum())
            if num_short:
                record.notes.append(
                    f"{task.name}: {num_short} of {num_classes} classes have fewer than {shots} training images, so "
                    f"few_shot_{shots} uses {len(draw_shots(labels, shots, config.seed)):,} images"
                )
    if "linear" in config.probes:
        linear = predict_linear(training, labels, testing, num_classes, config.linear.l2, config.seed, device)
        record.predictions["linear"] = linear.classes[None]
        record.choices["linear_l2"] = linear.l2
    if encoders.grid is not None:
        grids = [encode_image_scenes(encoders.grid, part, cache) for part in (task.training, task.testing)]
        if grids[0][np.arange(1)].ndim != 3:
            record.notes.append(f"{task.name}: attention_pool was left out, because these vectors are not grids")
        else:
            record.predictions["attention_pool"] = predict_attention_pool(
                grids[0], labels, grids[1], num_classes, config.attention_pool, config.seed, device
            )[None]
    if "zero_shot" in config.probes and _set_features(config.clip, "pooled").is_joint:
        texts = write_class_texts(task.classes, config.templates, task.class_texts)
        matrix, rows = encode_texts(encoders.pooled, [text for group in texts for text in group], cache)
        vectors = np.split(matrix.gather(rows), np.cumsum([len(group) for group in texts])[:-1])
        record.predictions["zero_shot"] = predict_zero_shot(testing, average_class_vectors(vectors))[None]
    return record


def probe_encoder(config: ProbeEncoderConfig) -> Results:
    """Run the probes, and write results.json, predictions.jsonl and report.html.

    Raises:
        UserError: if the user can correct the cause.
    """
    device = pick_device(config.device)
    tasks = load_classifications(config)
    console.warn_about_encoder(config.clip, config.data if config.images is None else f"images={config.images}")
    encoders = _build_encoders(config, device)
    records = [_probe(config, encoders, task, device) for task in tasks]
    notes = [*encoders.notes, *(note for record in records for note in record.notes)]
    if "zero_shot" in config.probes and not any("zero_shot" in record.predictions for record in records):
        notes.append(f"zero_shot was left out, because {encoders.pooled.name} does not encode texts")
    results = write_probes(config, records, encoders.pooled, notes)
    write_probe_report(Path(config.output), results)
    return results


def main(config: ProbeEncoderConfig) -> None:
    """Probe the encoder, write the report, and print the accuracies."""
    show(describe_probes(probe_encoder(config)))
    show(f"report: {Path(config.output) / 'report.html'}")
