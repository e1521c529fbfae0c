"""probe_encoder.py: probe an encoder by simple classifiers on its vectors, and classify without training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.components import ClipConfig
from close_transfer.config.data import DataConfig
from close_transfer.config.probe_encoder import ProbeEncoderConfig
from close_transfer.core.arrays import Float32Array, IntArray
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.classification import (
    Classification,
    build_no_classes_error,
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
from close_transfer.evaluation.probes.zero_shot import (
    average_class_vectors,
    predict_zero_shot,
    sum_class_likelihoods,
    write_class_texts,
)
from close_transfer.evaluation.results import Results
from close_transfer.inference.caption_scorers import LikelihoodScorer, load_likelihood_scorer
from close_transfer.models.device import pick_device
from close_transfer.pipelines import console
from close_transfer.reports.probe_report import describe_probes, write_probe_report
from close_transfer.tasks.captioning import Captioning
from close_transfer.tasks.loading import load_task_examples


@dataclass
class _Encoders:
    """Encoder with pooled vectors, and the same encoder with a grid of vectors if it has one.

    Attributes:
        is_joint: True if the pooled vectors are of images and of texts.
        notes: reasons why a part is missing, one sentence each.
    """

    pooled: AnyEncoder
    is_joint: bool
    grid: AnyEncoder | None = None
    notes: list[str] = field(default_factory=list)


def _set_features(clip: ClipConfig, features: str) -> ClipConfig:
    """Return the settings with these features; unchanged for a kind of encoder that has no choice."""
    return clip.model_copy(update={"features": features}) if "features" in type(clip).model_fields else clip


def _build_encoders(config: ProbeEncoderConfig, clip: ClipConfig, device: str) -> _Encoders:
    data, pooled = config.data, _set_features(clip, "pooled")
    encoders = _Encoders(build_encoder(pooled, data, device, texts_needed=False), pooled.is_joint)
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
        raise build_no_classes_error(data.name)
    images_needed = config.run is not None or config.clip.encodes_images
    training, testing = (_load_table(data, name, images_needed) for name in ("train", split))
    return [_collect_classes("classes", training, testing)]


def _gather(vectors: SceneVectors) -> Any:
    """Return one vector per image; that of a grid is the mean of its cells."""
    gathered = vectors[np.arange(len(vectors))]
    return gathered.mean(axis=1) if gathered.ndim == 3 else gathered


def _classify_by_similarity(
    config: ProbeEncoderConfig, encoder: AnyEncoder, task: Classification, images: Float32Array
) -> IntArray:
    """Return the class whose texts are most similar to each test image, shape (images,).

    Args:
        config: settings.
        encoder: encoder of texts and images.
        task: images and classes.
        images: vectors of the test images.
    """
    texts = write_class_texts(task.classes, config.similarity_templates, task.class_texts)
    matrix, rows = encode_texts(encoder, [text for group in texts for text in group], config.embedding_cache)
    vectors = np.split(matrix.gather(rows), np.cumsum([len(group) for group in texts])[:-1])
    return predict_zero_shot(images, average_class_vectors(vectors))


def _classify_by_likelihood(config: ProbeEncoderConfig, scorer: LikelihoodScorer, task: Classification) -> IntArray:
    """Return the class whose texts a captioner finds likeliest for each test image, shape (images,)."""
    texts = write_class_texts(task.classes, config.likelihood_templates, task.class_texts)
    images = [example.image for example in task.testing if example.image is not None]
    assert len(images) == len(task.testing)  # a run's encoder reads images, so all have been loaded
    scores = scorer.score_all(images, [text for group in texts for text in group])
    classes: IntArray = sum_class_likelihoods(scores, [len(group) for group in texts]).argmax(axis=1)
    return classes


def _probe(
    config: ProbeEncoderConfig,
    encoders: _Encoders,
    scorer: LikelihoodScorer | None,
    task: Classification,
    device: str,
) -> ProbeRecord:
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
    if "zero_shot" in config.probes and encoders.is_joint:
        record.predictions["zero_shot"] = _classify_by_similarity(config, encoders.pooled, task, testing)[None]
    if "zero_shot" in config.probes and scorer is not None:
        record.predictions["zero_shot_likelihood"] = _classify_by_likelihood(config, scorer, task)[None]
    return record


def _load_scorer(config: ProbeEncoderConfig, device: str) -> tuple[LikelihoodScorer | None, dict[str, Any]]:
    """Return the scorer of the run, and the fields of results.json that describe the run; nothing without a run."""
    if config.run is None:
        return None, {}
    return load_likelihood_scorer(config, config.embedding_cache, config.batch_size, device)


def probe_encoder(config: ProbeEncoderConfig) -> Results:
    """Run the probes, and write results.json, predictions.jsonl and report.html.

    Raises:
        UserError: if the user can correct the cause.
    """
    device = pick_device(config.device)
    tasks = load_classifications(config)
    scorer, run = _load_scorer(config, device)
    clip = config.clip if scorer is None else scorer.trained.clip
    console.warn_about_encoder(clip, config.data if config.images is None else f"images={config.images}")
    encoders = _build_encoders(config, clip, device)
    records = [_probe(config, encoders, scorer, task, device) for task in tasks]
    notes = [*encoders.notes, *(note for record in records for note in record.notes)]
    if "zero_shot" in config.probes and not encoders.is_joint and scorer is None:
        notes.append(
            f"zero_shot was left out, because {encoders.pooled.name} does not encode texts. Give run=FOLDER to let a "
            "captioner classify by likelihood"
        )
    system = run or {"system": encoders.pooled.name, "seed": config.seed, "config": {}}
    results = write_probes(config, records, encoders.pooled, notes, system)
    write_probe_report(Path(config.output), results)
    return results


def _check_arguments(config: ProbeEncoderConfig, arguments: Sequence[str]) -> None:
    """Refuse settings that have no effect next to others; they have defaults, so only those that were typed are refused.

    Raises:
        UserError: if one was typed.
    """
    for argument in arguments:
        group = argument.lstrip("+~").partition("=")[0].partition(".")[0]
        if group == "clip" and config.run is not None:
            raise UserError(
                f"{argument} has no effect with run={config.run}, whose encoder is probed. Leave one of the two out"
            )
        if group == "data" and config.images is not None:
            raise UserError(f"{argument} has no effect with images={config.images}. Leave one of the two out")
        if group == "targets" and (config.images is not None or not config.data.is_generated):
            raise UserError(f"{argument} only applies to data=picturebook. Leave it out")


def main(config: ProbeEncoderConfig, arguments: Sequence[str] = ()) -> None:
    """Probe the encoder, write the report, and print the accuracies."""
    _check_arguments(config, arguments)
    show(describe_probes(probe_encoder(config)))
    show(f"report: {Path(config.output) / 'report.html'}")
