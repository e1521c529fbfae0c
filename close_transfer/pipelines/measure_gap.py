"""measure_gap.py: measure the gap between texts and images of some scenes, or images alone."""

from pathlib import Path

from close_transfer.config.measure_gap import MeasureGapConfig
from close_transfer.core.atomic_files import write_json
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.data.examples import fingerprint_examples, group_by_scene, sample
from close_transfer.encoders.build import build_encoder
from close_transfer.evaluation.provenance import get_git_commit, get_package_versions
from close_transfer.modality_gap.image_measurement import ImageMeasurement, encode_images, measure_images
from close_transfer.modality_gap.measurement import Gap, measure
from close_transfer.modality_gap.vectors import encode_groups
from close_transfer.models.device import pick_device
from close_transfer.reports.gap_report import describe, write_page
from close_transfer.reports.image_vectors_report import describe_images, write_image_page
from close_transfer.tasks.loading import load_task_examples


def measure_gap(config: MeasureGapConfig) -> Gap | ImageMeasurement:
    """Load and encode scenes, measure the gap, or images alone if the encoder has no text tower, and write gap.json.

    Raises:
        UserError: if the user can correct the cause.
    """
    has_texts = config.clip.has_text_vectors
    if not has_texts and not config.images:
        raise UserError(
            f"images=false measures texts only, and clip={config.clip.kind} gives no vectors of texts. Leave images out, or "
            "give another encoder"
        )
    encoder = build_encoder(config.clip, config.data, pick_device(config.device), texts_needed=has_texts)
    loaded = load_task_examples(config.task, config.data, config.split)
    scenes = group_by_scene([example for example in loaded.examples if example.texts])
    examples = sample(scenes, config.max_scenes, config.seed)
    if len(examples) < 2:
        raise UserError(
            f"split={config.split}: {len(examples)} scenes with text are too few, at least two are needed. Choose another split"
        )
    missing = sum(example.image is None for example in examples)
    if config.images and missing:
        raise UserError(
            f"{missing:,} of {len(examples):,} scenes have no image. Choose data with images, or give images=false"
        )
    measured: Gap | ImageMeasurement
    if has_texts:
        vectors = encode_groups(encoder, examples, config.embedding_cache, config.images)
        measured = measure(vectors, config.noises, config.num_bootstrap, config.seed)
    else:
        images = encode_images(encoder, examples, config.embedding_cache)
        measured = measure_images(images, config.num_bootstrap, config.seed, encoder.name)
    measured.provenance.update(
        {
            "data": config.data.name,
            "split": config.split,
            "encoder": encoder.name,
            "encoder_fingerprint": encoder.fingerprint,
            "data_fingerprint": fingerprint_examples(examples),
            "seed": config.seed,
            "config": config.model_dump(mode="json"),
            "versions": get_package_versions(),
            "git_commit": get_git_commit(),
        }
    )
    write_json(Path(config.output) / "gap.json", measured.as_dict())
    return measured


def main(config: MeasureGapConfig) -> None:
    """Measure the gap, write the page, and print the measures."""
    measured = measure_gap(config)
    if isinstance(measured, Gap):
        page, summary = write_page(measured, config), describe(measured)
    else:
        page, summary = write_image_page(measured, config), describe_images(measured)
    show(summary)
    show(f"page: {page}")
