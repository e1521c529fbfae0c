"""Steps that the trainings on images with captions share: of a captioner, a text tower, and an encoder without language."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from close_transfer.config.captioned_images import CaptionedImagesConfig
from close_transfer.core.atomic_files import WriteError, fingerprint, write_json
from close_transfer.core.errors import UserError
from close_transfer.core.roles import Role, drop_settings
from close_transfer.data.examples import fingerprint_examples
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.language_models import END_TOKEN
from close_transfer.models.pretrained import load_saved_tokenizer
from close_transfer.training.captioned_images import CaptionedImages, load_captioned_images
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.train_step import NonFiniteError
from close_transfer.training.trainer import Outcome
from close_transfer.training.training_data import TrainingData, load_training_data


def load_captioned_data(config: CaptionedImagesConfig) -> TrainingData:
    """Load the examples.

    Raises:
        UserError: if they cannot be used, or have prompts.
    """
    data = load_training_data(config, "image")
    if any(example.prompt for example in data.training.examples):
        raise UserError(
            f"task={config.task.name}: its examples have prompts, which {config.reader} does not read. Give task=captioning"
        )
    return data


def compute_identity(config: CaptionedImagesConfig, data: TrainingData, *parts: str) -> str:
    """Return the fingerprint of settings, examples and further parts, which a resumed training must share."""
    deciding = drop_settings(type(config), config.model_dump(mode="json"), Role.LOCATION, Role.REPORTING)
    examples = [fingerprint_examples(part.examples) for part in (data.training, data.validation)]
    return fingerprint([json.dumps(deciding, sort_keys=True), *examples, *parts])


def train_or_load_tokenizer(
    config: CaptionedImagesConfig, data: TrainingData, last: Path | None
) -> PreTrainedTokenizerBase:
    """Return a tokenizer trained on the training texts, or that of the checkpoint to continue from."""
    if last is not None:
        return load_saved_tokenizer(last)
    return train_bpe(data.tokenizer_texts, config.captioner.vocab_size, END_TOKEN)


def load_training_images(
    config: CaptionedImagesConfig,
    data: TrainingData,
    tokenizer: PreTrainedTokenizerBase | None,
    accelerator: Accelerator,
) -> tuple[CaptionedImages, CaptionedImages]:
    """Return texts and images for training and for validation.

    Raises:
        UserError: if an image cannot be read.
        WriteError: if the cache of pixels cannot be written.
    """
    with accelerator.main_process_first():  # the others read the main process's pixels from the cache
        training, validation = (
            load_captioned_images(
                part.examples, tokenizer, config.task, config.captioner.image_size, config.pixel_cache
            )
            for part in (data.training, data.validation)
        )
    return training, validation


@contextmanager
def train_in_folder(run: RunFolder, accelerator: Accelerator) -> Iterator[None]:
    """Hold the folder of a training within the block, and say how to continue after an error.

    Raises:
        UserError: if another process trains there, or if a loss is not finite.
        WriteError: if the disk is full; the last saved state is intact.
    """
    with run.lock_for_all_processes(accelerator):
        try:
            yield
        except WriteError as error:
            raise error.with_next_step("continue with the same settings and resume=true") from error
        except NonFiniteError as error:
            raise UserError(str(error)) from error


def write_summary(
    run: RunFolder, name: str, config: CaptionedImagesConfig, counts: Mapping[str, Any], outcome: Outcome
) -> None:
    """Write settings, counts and losses to the file `name`, and remove the checkpoints of a finished training."""
    losses = [entry for entry in run.read_log() if "validation_loss" in entry]
    trained = {"step": outcome.state.step, "seconds": outcome.state.seconds, "losses": losses}
    summary: dict[str, Any] = {
        "stopped_early": outcome.stopped_early,
        "config": config.model_dump(mode="json"),
        "counts": counts,
        "trained": trained,
    }
    write_json(run.path / name, summary)
    if not outcome.stopped_early:
        shutil.rmtree(run.path / "checkpoints", ignore_errors=True)


def describe_stop(folder: Path) -> str:
    """Return the sentence on how to continue a stopped training."""
    return f"stopped and saved; to continue, use the same settings and resume=true output={folder}"
