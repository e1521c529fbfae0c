"""Checks of the arguments of `TransferModel`, so that mistakes are reported before anything is encoded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from close_transfer.config.choices import DecodingPrecision, InputModality
from close_transfer.config.components import find_encoder_class
from close_transfer.core.arrays import Float32Array
from close_transfer.core.errors import UserError
from close_transfer.data.image_files import convert_to_rgb, open_image
from close_transfer.inference.decoding import Decoding
from close_transfer.inference.decoding_precision import resolve_decoding_precision
from close_transfer.tasks import get_task

ImageInput = str | Path | Image.Image | NDArray[np.uint8]

_IMAGE_INPUTS = "a path, a PIL.Image, or a uint8 array of shape (height, width, 3)"


def is_single_image(images: Any) -> bool:
    """Return True if this is one image, not several; an array of four dimensions is several."""
    return isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4)


def as_list(values: Any, name: str) -> list[Any]:
    """Return several images or texts as a list.

    Args:
        values: iterable of images or texts.
        name: name of the argument, "images" or "texts".

    Raises:
        UserError: if `values` is a single image or text, whose rows or letters would be read as several, or cannot be
            iterated, or if `texts` holds something else than strings.
    """
    is_single = is_single_image(values) if name == "images" else isinstance(values, str)
    if is_single:
        description = repr(values) if isinstance(values, (str, Path)) else f"a {type(values).__name__}"
        raise UserError(f"{name}={description} is a single one. Give a list, such as {name}=[...]")
    try:
        items = list(values)
    except TypeError:
        raise UserError(f"{name} is of type {type(values).__name__}. Give a list of {name}") from None
    if name == "texts" and (wrong_items := [item for item in items if not isinstance(item, str)]):
        raise UserError(
            f"texts holds {wrong_items[0]!r} of type {type(wrong_items[0]).__name__}. Give a list of strings only"
        )
    return items


def open_given_image(image: Any) -> Image.Image:
    """Return an image as 8-bit RGB.

    Args:
        image: an `ImageInput`; other types are rejected.

    Raises:
        UserError: if the image cannot be read, or is of another type, dtype or shape.
    """
    if isinstance(image, (str, Path)):
        return open_image(Path(image))
    if isinstance(image, Image.Image):
        try:
            return convert_to_rgb(image)
        except Exception as error:  # of any kind, because Pillow decodes an opened file only now
            raise UserError(f"a PIL.Image cannot be read ({error}). Give another image") from error
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise UserError(f"an image is an array of {image.dtype} of shape {image.shape}. Give {_IMAGE_INPUTS}")
        return Image.fromarray(np.ascontiguousarray(image))
    raise UserError(f"an image is of type {type(image).__name__}. Give {_IMAGE_INPUTS}")


def check_embeddings(embeddings: Any, encoder: Mapping[str, Any]) -> Float32Array:
    """Check vectors of the encoder, and return them as float32; they need not have unit length.

    Args:
        embeddings: vectors, shape (rows, dim), or (rows, cells, dim) if the encoder returns grids.
        encoder: description of the encoder in a model's config.

    Raises:
        UserError: if they have another shape or dtype, there are none, or one is zero or not finite.
    """
    try:
        array = np.asarray(embeddings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"embeddings of type {type(embeddings).__name__} cannot be read as an array ({error}). Give an array of "
            "numbers"
        ) from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"embeddings of dtype {array.dtype} are not real numbers. Give an array of floats")
    config, dim = encoder.get("config", {}), encoder["dim"]
    grid = config.get("features") == "grid"
    shapes = {3: f"(rows, cells, {dim})"} if grid else {2: f"(rows, {dim})"}
    if not find_encoder_class(config).encodes_images:  # vectors from files: pooled or grids, which no file records
        shapes = {2: f"(rows, {dim})", 3: f"(rows, cells, {dim})"}
    if array.ndim not in shapes or array.shape[-1] != dim:
        raise UserError(
            f"embeddings of shape {array.shape} do not fit the model's encoder {encoder['name']}. Give an array of shape "
            f"{' or '.join(shapes.values())}"
        )
    if not array.size:
        raise UserError(f"embeddings of shape {array.shape} hold no vector. Give at least one")
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, which is reported below
        vectors = array.astype(np.float32)
    for is_bad, problem in (
        (~np.isfinite(vectors).all(axis=-1), "hold NaN or infinity as float32"),
        (~vectors.any(axis=-1), "are zero and have no direction"),
    ):
        rows = np.flatnonzero(is_bad.reshape(len(vectors), -1).any(axis=1))
        if len(rows):
            raise UserError(
                f"embeddings: {len(rows):,} of {len(vectors):,} rows {problem}, first row {rows[0]}. Encode them again"
            )
    return vectors


def check_input_modality(
    input_modality: InputModality | None, texts: Sequence[str], images: Sequence[Any]
) -> InputModality:
    """Return the modality that the vectors come from; embeddings come from images if nothing else is given.

    Args:
        input_modality: modality that the user gave for embeddings; None if not given.
        texts: texts to encode; empty if not given.
        images: images to encode; empty if not given.

    Raises:
        UserError: if it is not a modality, or contradicts the texts or images that are given.
    """
    if input_modality not in (None, "image", "text"):
        raise UserError(f"input_modality={input_modality} is not a modality. Give image or text")
    own_modality: InputModality | None = "text" if texts else "image" if images else None
    if own_modality and input_modality and own_modality != input_modality:
        raise UserError(
            f"input_modality={input_modality} only applies to embeddings, and {own_modality}s were given. Leave it out"
        )
    return own_modality or input_modality or "image"


def check_prompt(prompt: str | None, task: Mapping[str, Any]) -> str:
    """Return the prompt, or the task's own if none is given.

    Args:
        prompt: prompt that the user gave; None if not given.
        task: description of the task in a model's config.

    Raises:
        UserError: if the prompt is not a string, or the task takes no prompt.
    """
    if prompt is None:
        return task.get("prompt") or ""
    if not isinstance(prompt, str):
        raise UserError(f"prompt={prompt!r} is not a text. Give a string")
    if prompt and get_task(task["name"]).reads.prompt == "none":
        raise UserError(f"prompt={prompt}: task={task['name']} takes no prompt. Leave it out")
    return prompt


def check_text(name: str, text: str) -> None:
    """Check that a question or hypothesis is a text and not empty.

    Args:
        name: name of the argument.
        text: its value.

    Raises:
        UserError: if it is not a string, or holds only spaces.
    """
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{name}={text!r} is empty or not a text. Give {name} as a string")


def check_single_candidate(decoding: Mapping[str, Any]) -> None:
    """Check the decoding of a method that returns one text per input.

    Args:
        decoding: keyword arguments of `TransferModel.write`.

    Raises:
        UserError: if they ask for more candidates.
    """
    if decoding.get("num_return", 1) != 1:
        raise UserError(
            f"num_return={decoding['num_return']}: this method returns a single text. Use write(..., num_return=...), "
            "which returns all candidates"
        )


def check_precision(precision: Any, device: str) -> Literal["fp32", "bf16"]:
    """Return the precision that this value of the argument gives on a device.

    Raises:
        UserError: if it is unknown, or the device does not compute in it.
    """
    if precision not in get_args(DecodingPrecision):
        raise UserError(f"precision={precision} is unknown. Give one of {', '.join(get_args(DecodingPrecision))}")
    return resolve_decoding_precision(precision, device)


def check_decoding(
    num_beams: int | None,
    num_return: int,
    top_p: float | None,
    temperature: float,
    seed: int,
    task_beams: int,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Decoding:
    """Check the settings of the decoding.

    Args:
        num_beams: see `TransferModel.write`, like the following ones.
        num_return: candidates per input.
        top_p: share of the probability to sample from.
        temperature: temperature of sampling.
        seed: seed of sampling.
        task_beams: number of beams of the task, used if `num_beams` is None.
        precision: precision of matrix products.

    Raises:
        UserError: if a number is out of range, or two of them cannot be combined.
    """
    if top_p is not None and not (_is_number(top_p) and 0 < top_p <= 1):
        raise UserError(f"top_p={top_p} is out of range. Give a number above 0 and at most 1, such as top_p=0.9")
    # The upper limit catches infinity and mistyped values; sampling is uniform long before it.
    if not (_is_number(temperature) and 0 < temperature <= 1e6):
        raise UserError(f"temperature={temperature} is out of range. Give a number above 0, such as temperature=0.7")
    if top_p is None and temperature != 1:
        raise UserError(f"temperature={temperature} only applies to sampling. Give top_p too, such as top_p=0.9")
    if num_beams is None:
        num_beams = task_beams if top_p is None else 1
    return Decoding(
        check_whole_number("num_beams", num_beams),
        check_whole_number("num_return", num_return),
        top_p,
        float(temperature),
        check_whole_number("seed", seed, minimum=0),
        precision,
    )


def check_whole_number(name: str, value: Any, minimum: int = 1) -> int:
    """Return the value of an argument as an `int`.

    Raises:
        UserError: if it is not a whole number, or is out of range.
    """
    # Above 32 bits, torch and transformers fail with messages that do not name the argument.
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not minimum <= value < 2**31:
        raise UserError(
            f"{name}={value} is out of range or not a whole number. Give a whole number from {minimum} to 2147483647"
        )
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
