"""inspect_prefix.py: show the words nearest to each prefix token that the mapper makes from an image."""

import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from close_transfer import TransferModel
from close_transfer.config.inspect_prefix import InspectPrefixConfig
from close_transfer.core.console import show
from close_transfer.data.examples import group_by_scene
from close_transfer.data.image_files import find_images, open_image
from close_transfer.inference.prefix_words import find_nearest_words
from close_transfer.tasks.loading import load_task_examples
from close_transfer.training.runs import find_run, read_run

_logger = logging.getLogger(__name__)


def _open_images(config: InspectPrefixConfig, run: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield the images of `config.images` with their names, or the first test images of the run's data."""
    if config.images is not None:
        files = find_images(Path(config.images))
        for name, reason in files.faults:
            _logger.warning("%s: %s", name, reason)
        yield from ((name, open_image(path)) for name, path in files.files)
        return
    trained, _ = read_run(run)
    loaded = load_task_examples(config.task, trained.data, "test", images_needed=True)
    examples = group_by_scene(loaded.examples)
    for number, example in enumerate(examples[: config.num_images], start=1):
        assert example.image is not None
        yield f"test image {number}", example.image.open()


def main(config: InspectPrefixConfig) -> None:
    """Print a caption of each image, and the nearest words of each prefix token."""
    run = find_run(config.run, config.runs, config.task)
    model = TransferModel.from_pretrained(run, config.device, config.checkpoint, config.base_model)
    for name, image in _open_images(config, run):
        vectors = torch.from_numpy(model.encoder.encode_images([image]))
        show(f"{name}: {model.write([image], num_beams=1)[0].text}")
        (tokens,) = find_nearest_words(model.network, model.tokenizer, vectors, "image", config.num_words)
        for number, words in enumerate(tokens, start=1):
            show(f"  token {number}: " + ", ".join(f"{word.word} {word.cosine:.2f}" for word in words))
