"""Frozen image encoder that was pretrained by captioning (Cap and CapPa, arXiv 2306.07915), without a text tower.

The encoders that captioners are compared with, trained without language, are of the same form.
The network is timm's vision transformer, shaped as in big_vision: learned positions, norms before the layers, no class
token, a norm at the end. A folder holds it as encoder.json (its sizes) and model.safetensors.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on

from close_transfer.config.captioned_images import CaptionerSizes
from close_transfer.config.components import CaptionerEncoderConfig
from close_transfer.config.encoder_folder import ENCODER_FOLDER, SIZES_FILE
from close_transfer.core.atomic_files import (
    atomic_path,
    damaged_file_error,
    fingerprint,
    read_json,
    report_write_errors,
    write_json,
)
from close_transfer.core.checksums import check_model_checksums, write_checksums
from close_transfer.core.errors import UserError
from close_transfer.core.schema import Positive, describe_first_problem
from close_transfer.core.weight_headers import read_header
from close_transfer.encoders.image_batches import ImageOnlyEncoder
from close_transfer.encoders.image_reading import ImageReader
from close_transfer.encoders.out_of_memory import explain_too_many_images
from close_transfer.encoders.precision import cast_products, list_key_parts, resolve_precision
from close_transfer.encoders.weight_files import check_shapes, limit_parameters
from close_transfer.encoders.weights_fingerprint import fingerprint_weights

_WEIGHTS = "model.safetensors"
PREPROCESSING = "scaled to a square, bicubic, -1 to 1"  # name of the preprocessing, for the keys of caches


class VisionSizes(TypedDict):
    """Sizes of the vision transformer: pixels per side of an image and of a patch, width, number of layers and heads."""

    image_size: Positive
    patch_size: Positive
    width: Positive
    depth: Positive
    heads: Positive


def select_vision_sizes(sizes: CaptionerSizes) -> VisionSizes:
    """Return the sizes of the vision transformer among those of a captioner."""
    return {
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
        "width": sizes.width,
        "depth": sizes.depth,
        "heads": sizes.heads,
    }


def build_vision_transformer(sizes: VisionSizes) -> VisionTransformer:
    """Build the network with weights from PyTorch's global generator; its MLPs are four times as wide as its tokens.

    `forward_features` returns the normed tokens, shape (b, k, d), and calling it their mean, shape (b, d).
    """
    model = VisionTransformer(
        img_size=sizes["image_size"],
        patch_size=sizes["patch_size"],
        embed_dim=sizes["width"],
        depth=sizes["depth"],
        num_heads=sizes["heads"],
        num_classes=0,
        class_token=False,
        global_pool="avg",
        fc_norm=False,  # the mean is of the normed tokens, which a decoder reads too
        act_layer="gelu_tanh",
        weight_init="jax",
    )
    assert isinstance(model.pos_embed, Tensor)
    # As big_vision; timm draws smaller positions, and smaller weights of queries, keys and values, as one matrix.
    torch.nn.init.normal_(model.pos_embed, std=sizes["width"] ** -0.5)
    for name, weight in model.named_parameters():
        if name.endswith("attn.qkv.weight"):
            for projection in weight.chunk(3):
                torch.nn.init.xavier_uniform_(projection)
    return model


def scale_to_pixels(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Return an image scaled to a square, shape (size, size, 3)."""
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def normalize_pixels(pixels: Tensor) -> Tensor:
    """Return 8-bit pixels, shape (b, size, size, 3), as input of the network: shape (b, 3, size, size), from -1 to 1."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def save_encoder(folder: Path, model: VisionTransformer, sizes: VisionSizes) -> None:
    """Write a network to a folder that `clip=captioner clip.model=FOLDER` loads.

    Raises:
        WriteError: if the folder cannot be written.
    """
    with report_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        with atomic_path(folder / _WEIGHTS) as temporary:
            save_file(weights, temporary)
    write_json(folder / SIZES_FILE, dict(sizes))
    write_checksums(folder, (SIZES_FILE, _WEIGHTS))


def copy_encoder(name: str, folder: Path) -> None:
    """Copy the encoder that `clip.model=name` names to a folder.

    Raises:
        UserError: if it is missing or damaged.
        WriteError: if the folder cannot be written.
    """
    source = _find_folder(name)
    _check_files(source)
    with report_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file in (SIZES_FILE, _WEIGHTS):
            with atomic_path(folder / file) as temporary:
                shutil.copyfile(source / file, temporary)
    write_checksums(folder, (SIZES_FILE, _WEIGHTS))


def _find_folder(name: str) -> Path:
    """Return the folder of the encoder, from its own name or that of its captioner's folder."""
    folder = Path(name)
    if (folder / ENCODER_FOLDER / SIZES_FILE).is_file():
        return folder / ENCODER_FOLDER
    if not (folder / SIZES_FILE).is_file():
        raise UserError(
            f"clip.model={name}: there is no image encoder. Give the folder that scripts/train_captioner.py or "
            "scripts/train_image_encoder.py wrote"
        )
    return folder


def _check_files(folder: Path) -> None:
    """Check the files of an encoder's folder; without checksums.json only that they are there."""
    check_model_checksums(folder)
    if not (folder / _WEIGHTS).is_file():
        raise damaged_file_error(folder / _WEIGHTS, "it is missing")


def _read_sizes(folder: Path) -> VisionSizes:
    try:
        sizes = TypeAdapter(VisionSizes).validate_python(read_json(folder / SIZES_FILE), strict=True)
    except ValidationError as error:
        raise damaged_file_error(folder / SIZES_FILE, describe_first_problem(error)) from None
    if sizes["image_size"] % sizes["patch_size"]:  # the weights have the same shapes for all sizes in between
        raise damaged_file_error(
            folder / SIZES_FILE, f"image_size={sizes['image_size']} is not a multiple of patch_size"
        )
    return sizes


def _load(folder: Path, sizes: VisionSizes) -> VisionTransformer:
    """Load the weights, after a check that they are exactly those of the network that the sizes describe."""
    weights, described = folder / _WEIGHTS, str(folder / SIZES_FILE)
    num_tensors = len(read_header(weights))
    if sizes["depth"] > num_tensors:  # timm lists a rate per layer first, which no limit of parameters notices
        raise damaged_file_error(
            folder / SIZES_FILE, f"depth={sizes['depth']}, but the weights hold {num_tensors} tensors"
        )
    try:
        with limit_parameters(lambda: num_tensors, described), torch.device("meta"):
            expected = build_vision_transformer(sizes).state_dict(keep_vars=True)
    except UserError:
        raise
    except Exception as error:  # of many kinds, if the sizes do not fit together
        raise damaged_file_error(folder / SIZES_FILE, str(error)) from error
    check_shapes(expected, weights, SIZES_FILE)
    with torch.device("meta"):
        model = build_vision_transformer(sizes)
    model.load_state_dict(load_file(weights), assign=True)
    return model


def load_vision_transformer(name: str) -> tuple[VisionTransformer, VisionSizes]:
    """Return the network that `clip.model=name` names, on the CPU, and its sizes.

    Raises:
        UserError: if there is no such folder, or it is damaged.
    """
    folder = _find_folder(name)
    _check_files(folder)
    sizes = _read_sizes(folder)
    return _load(folder, sizes), sizes


class CaptionerEncoder(ImageOnlyEncoder):
    """Frozen encoder that returns the mean of an image's tokens, or the grid of them, which a captioner's decoder reads."""

    def __init__(self, config: CaptionerEncoderConfig, device: str = "cpu") -> None:
        """Load the network.

        Raises:
            UserError: if there is no such folder, or it is damaged.
        """
        model, sizes = load_vision_transformer(config.model)
        folder = _find_folder(config.model)
        self._model = model.to(device).eval().requires_grad_(False)
        self._device = device
        self._reader = ImageReader(partial(scale_to_pixels, size=sizes["image_size"]), config.batch_size, device)
        self.precision = resolve_precision(config.precision, device)
        self._is_grid = config.features == "grid"
        owner = folder.resolve().parent if folder.name == ENCODER_FOLDER else folder
        self.name = f"captioner {owner.name}" + (", grid" if self._is_grid else "")
        self.dim = sizes["width"]
        self.fingerprint = fingerprint_weights(model)
        key: list[Any] = [self.fingerprint, PREPROCESSING, config.features, *list_key_parts(self.precision)]
        self.image_key = fingerprint(key)

    @explain_too_many_images
    @torch.inference_mode()
    def _encode(self, pixels: Tensor) -> Tensor:
        with cast_products(self.precision, self._device):
            tokens = self._model.forward_features(normalize_pixels(pixels))
        return tokens if self._is_grid else tokens.mean(dim=1)
