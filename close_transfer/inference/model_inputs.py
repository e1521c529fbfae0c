"""What `TransferModel` may be given: each mistake is one sentence before anything is encoded, as the commands do it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from close_transfer.config.choices import InputModality
from close_transfer.config.components import find_encoder_class
from close_transfer.core.arrays import Float32Array
from close_transfer.core.errors import UserError
from close_transfer.data.image_files import convert_to_rgb, open_image
from close_transfer.inference.decoding import Decoding
from close_transfer.tasks import get_task

ImageInput = str | Path | Image.Image | NDArray[np.uint8]

_IMAGE_INPUTS = "a path, a PIL.Image, or an array of uint8 of shape (height, width, 3)"


def is_one_image(images: Any) -> bool:
    """Whether this is an image, and not several; an array of four dimensions is several."""
    return isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4)


def as_list(values: Any, what: str) -> list[Any]:
    """Several images or texts as a list.

    Args:
        values: a sequence of them.
        what: "images" or "texts", for messages.

    Raises:
        UserError: if it is a single one, whose letters or rows would be taken for several, or no sequence at all.
    """
    is_one = is_one_image(values) if what == "images" else isinstance(values, str)
    if is_one:
        description = repr(values) if isinstance(values, (str, Path)) else f"a {type(values).__name__}"
        raise UserError(f"{what}={description}: is one of them; give a list, such as {what}=[...]")
    try:
        items = list(values)
    except TypeError:
        raise UserError(f"{what} of type {type(values).__name__}: give a list of them") from None
    if what == "texts" and (wrong_items := [item for item in items if not isinstance(item, str)]):
        raise UserError(f"texts hold {wrong_items[0]!r} of type {type(wrong_items[0]).__name__}; give texts only")
    return items


def open_given_image(image: Any) -> Image.Image:
    """An image as 8-bit RGB.

    Raises:
        UserError: if it cannot be read, or is nothing of what is taken for an image.
    """
    if isinstance(image, (str, Path)):
        return open_image(Path(image))
    if isinstance(image, Image.Image):
        try:
            return convert_to_rgb(image)
        except Exception as error:  # of any kind: an opened file is decoded only now
            raise UserError(f"a PIL.Image cannot be read as an image ({error}); give another") from error
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise UserError(f"an image is an array of {image.dtype} of shape {image.shape}; give {_IMAGE_INPUTS}")
        return Image.fromarray(np.ascontiguousarray(image))
    raise UserError(f"an image is of type {type(image).__name__}; give {_IMAGE_INPUTS}")


def check_embeddings(embeddings: Any, encoder: Mapping[str, Any]) -> Float32Array:
    """Vectors of the encoder in 32 bits, of any length but none.

    Args:
        embeddings: shape (rows, dim), or (rows, cells, dim) where the encoder gives grids.
        encoder: what a model's config says of it.

    Raises:
        UserError: if they are of another shape or kind, there are none, or one is zero or not finite.
    """
    try:
        array = np.asarray(embeddings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"embeddings of type {type(embeddings).__name__}: are no array ({error}); give numbers"
        ) from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"embeddings of {array.dtype}: should be real numbers")
    config, dim = encoder.get("config", {}), encoder["dim"]
    grid = config.get("features") == "grid"
    shapes = {3: f"(rows, cells, {dim})"} if grid else {2: f"(rows, {dim})"}
    if not find_encoder_class(config).encodes_images:  # of one kind or the other; nobody wrote down which
        shapes = {2: f"(rows, {dim})", 3: f"(rows, cells, {dim})"}
    if array.ndim not in shapes or array.shape[-1] != dim:
        raise UserError(f"embeddings of shape {array.shape}: {encoder['name']} gives {' or '.join(shapes.values())}")
    if not array.size:
        raise UserError(f"embeddings of shape {array.shape}: there is none; give at least one")
    with np.errstate(over="ignore"):
        vectors = array.astype(np.float32)
    for is_bad, problem in (
        (~np.isfinite(vectors).all(axis=-1), "hold NaN or infinity, as numbers of 32 bits"),
        (~vectors.any(axis=-1), "are zero, which has no direction"),
    ):
        rows = np.flatnonzero(is_bad.reshape(len(vectors), -1).any(axis=1))
        if len(rows):
            raise UserError(
                f"embeddings: {len(rows):,} of {len(vectors):,} rows {problem}, first row {rows[0]}; encode them again"
            )
    return vectors


def check_input_modality(
    input_modality: InputModality | None, texts: Sequence[str], images: Sequence[Any]
) -> InputModality:
    """What the vectors are made from: as said of embeddings, which are images' if nothing is said.

    Raises:
        UserError: if it is none, or not that of the texts or images that are given.
    """
    if input_modality not in (None, "image", "text"):
        raise UserError(f"input_modality={input_modality}: allowed are image and text")
    own_modality: InputModality | None = "text" if texts else "image" if images else None
    if own_modality and input_modality and own_modality != input_modality:
        raise UserError(
            f"input_modality={input_modality}: is of embeddings, and {own_modality}s were given; leave it out"
        )
    return own_modality or input_modality or "image"


def check_prompt(prompt: str | None, task: Mapping[str, Any]) -> str:
    """What is asked: the task's own where nothing is given.

    Raises:
        UserError: if it is no text, or the task asks nothing.
    """
    if prompt is None:
        return task.get("prompt") or ""
    if not isinstance(prompt, str):
        raise UserError(f"prompt={prompt!r}: should be a text")
    if prompt and get_task(task["name"]).reads.prompt == "none":
        raise UserError(f"prompt={prompt}: task={task['name']} takes no prompt; leave it out")
    return prompt


def check_decoding(
    num_beams: int | None, num_return: int, top_p: float | None, temperature: float, seed: int, own_beams: int
) -> Decoding:
    """How text is written; arguments as of `TransferModel.write`, and `own_beams` of the task.

    Raises:
        UserError: if a number is out of range, or two do not go together.
    """
    if top_p is not None and not (_is_number(top_p) and 0 < top_p <= 1):
        raise UserError(f"top_p={top_p}: should be above 0 and at most 1, such as 0.9")
    if not (_is_number(temperature) and 0 < temperature <= 1e6):
        raise UserError(f"temperature={temperature}: should be a number above 0")
    if top_p is None and temperature != 1:
        raise UserError(f"temperature={temperature} is of sampling; give top_p too, such as top_p=0.9")
    beams = (1 if top_p is not None else own_beams) if num_beams is None else check_whole_number("num_beams", num_beams)
    return Decoding(
        beams,
        check_whole_number("num_return", num_return),
        top_p,
        float(temperature),
        check_whole_number("seed", seed, least=0),
    )


def check_whole_number(name: str, value: Any, least: int = 1) -> int:
    """The value as a whole number. Raises `UserError` if it is none, or below the least."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not least <= value < 2**31:
        raise UserError(f"{name}={value}: should be a whole number from {least}")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
