"""Answers for pictures or vectors that belong to no dataset: a file, a folder, a matrix."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from close_transfer.config import OpenClipConfig, PredictConfig
from close_transfer.decoding import Decoder
from close_transfer.encoders import OpenClipEncoder
from close_transfer.encoders.precomputed import read_array
from close_transfer.errors import UserError
from close_transfer.files import atomic_path
from close_transfer.model import TransferModel
from close_transfer.parts import check_encoder, load_model, pick_device
from close_transfer.runs import find_run, read_run
from close_transfer.tasks import TASKS

_PICTURES_AT_ONCE = 256


@dataclass(frozen=True)
class PredictionSummary:
    """What was written where, and which files could not be read."""

    output: Path
    num_predictions: int
    unreadable: tuple[str, ...]
    first_lines: tuple[str, ...]


def picture_files(path: Path) -> list[Path]:
    """The file, or all pictures below the folder in the order of their names.

    Raises:
        UserError: if there is no such file or no picture in the folder.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"images={path}: there is no such file or folder")
    known = Image.registered_extensions()
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in known)
    if not files:
        raise UserError(
            f"images={path}: no picture in this folder or below it; known are {', '.join(sorted(known)[:12])} and more"
        )
    return files


def _open_picture(path: Path) -> Image.Image | None:
    """The picture upright and as RGB; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            return upright.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _pictures(
    config: PredictConfig, model: TransferModel, clip: OpenClipConfig, device: str, unreadable: list[str]
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    assert config.images is not None
    root = Path(config.images)
    files = picture_files(root)
    encoder = OpenClipEncoder(clip, device)
    check_encoder(encoder, model)
    for start in range(0, len(files), _PICTURES_AT_ONCE):
        opened = [(file, _open_picture(file)) for file in files[start : start + _PICTURES_AT_ONCE]]
        unreadable += [str(file) for file, image in opened if image is None]
        readable = [(file, image) for file, image in opened if image is not None]
        if readable:
            names = [file.name if root.is_file() else file.relative_to(root).as_posix() for file, _ in readable]
            yield names, encoder.encode_images([image for _, image in readable])


def _vectors(config: PredictConfig, model: TransferModel) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    assert config.embeddings is not None
    array = read_array(Path(config.embeddings), "embeddings")
    trained = model.config.encoder
    if array.shape[-1] != trained["dim"]:
        raise UserError(
            f"embeddings={config.embeddings}: rows are {array.shape[-1]} wide, but the run was trained on {trained['name']}, {trained['dim']} wide; encode with that encoder"
        )
    for start in range(0, len(array), _PICTURES_AT_ONCE):
        block = np.asarray(array[start : start + _PICTURES_AT_ONCE], dtype=np.float32)
        yield [str(start + row) for row in range(len(block))], block


def _check(config: PredictConfig, labels: Sequence[str], num_beams: int) -> None:
    if config.num_return > num_beams:
        raise UserError(f"num_return={config.num_return} is more than num_beams={num_beams}; raise num_beams")
    if config.task in ("snli-ve", "vqa") and not config.prompt:
        what = "hypothesis" if labels else "question"
        raise UserError(f"task={config.task} needs a {what}; give prompt='...'")
    if config.task in ("captioning", "captioning-multi") and config.prompt:
        raise UserError(f"prompt={config.prompt}: task={config.task} takes no prompt; leave it out, or use task=vqa")


def predict_files(config: PredictConfig) -> PredictionSummary:
    """Writes one JSON line a picture or vector: id, prediction, candidates, scores.

    Raises:
        UserError: for whatever the user can mend.
    """
    run = find_run(config.run, config.runs, config.task)
    trained, _ = read_run(run)
    device = pick_device(config.device)
    model, tokenizer = load_model(run, config.checkpoint, device)
    task = TASKS[trained.task.name]
    num_beams = config.num_beams or model.config.task["num_beams"]
    _check(config, task.labels, num_beams)
    decoder = Decoder(model, tokenizer, num_beams, config.num_return, config.batch_size)
    unreadable: list[str] = []
    if config.images is not None:
        if not isinstance(trained.clip, OpenClipConfig):
            raise UserError(
                "the run was trained on precomputed vectors, so pictures cannot be encoded here; give embeddings=FILE"
            )
        batches = _pictures(config, model, trained.clip, device, unreadable)
    else:
        batches = _vectors(config, model)
    output, num_predictions = Path(config.output), 0
    first: list[str] = []
    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        for names, vectors in batches:
            for prediction in decoder.predict(names, vectors.__getitem__, [config.prompt] * len(names), task.labels):
                file.write(json.dumps(prediction.as_dict(), ensure_ascii=False) + "\n")
                num_predictions += 1
                if len(first) < 3:
                    first.append(f"{prediction.id}: {prediction.text}")
    return PredictionSummary(output, num_predictions, tuple(unreadable), tuple(first))
