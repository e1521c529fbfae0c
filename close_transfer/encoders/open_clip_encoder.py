"""Frozen encoders that `open_clip` builds: any architecture, with a tag's or a local file's weights."""

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor

from close_transfer.config import OpenClipConfig
from close_transfer.encoders.encoder import Floats
from close_transfer.encoders.text_forward import causal_text_tower
from close_transfer.errors import UserError
from close_transfer.files import fingerprint
from close_transfer.weights import weights_fingerprint

PICTUREBOOK_FOLDER = Path(__file__).parent.parent / "picturebook" / "clip"

# Enough of a language to tell tokenizers apart: what they make of it enters the text key.
_TOKENIZER_PROBE = ["A photo of two dogs, on Grass.", "Zwölf Boxkämpfer 123 ≠ 456", "lowercase UPPERCASE 犬"]


def _resolved_name(config: OpenClipConfig) -> str:
    return f"local-dir:{PICTUREBOOK_FOLDER}" if config.model == "picturebook" else config.model


def _check(config: OpenClipConfig) -> None:
    """Reports what can be known without building anything."""
    if config.pretrained and config.weights:
        raise UserError(
            f"clip.pretrained={config.pretrained} and clip.weights={config.weights} are both given; give one of them"
        )
    if config.model == "picturebook" or config.model.startswith(("local-dir:", "hf-hub:")):
        if config.weights:
            raise UserError(
                f"clip.weights={config.weights}: clip.model={config.model} has weights of its own; leave clip.weights out, or give an architecture's name as clip.model"
            )
        return
    architectures = open_clip.list_models()
    if config.model not in architectures:
        near = difflib.get_close_matches(config.model, architectures, n=3, cutoff=0.4)
        raise UserError(
            f"clip.model={config.model}: open_clip has no such architecture; near are {', '.join(near) or 'none'}; give one of open_clip.list_models()"
        )
    if config.weights:
        if not Path(config.weights).is_file():
            raise UserError(f"clip.weights={config.weights}: there is no such file; give a .safetensors or .pt file")
        return
    tags = open_clip.list_pretrained_tags_by_model(config.model)
    if config.pretrained not in tags:
        raise UserError(
            f"clip.pretrained={config.pretrained}: {config.model} has no such tag; choose one of {', '.join(tags) or '(none)'}, or give clip.weights=FILE"
        )


def _load(config: OpenClipConfig, device: str) -> tuple[Any, Any, Any]:
    name = _resolved_name(config)
    try:
        model, preprocess = open_clip.create_model_from_pretrained(
            name, pretrained=config.weights or config.pretrained, device=device, weights_only=True
        )
        tokenizer = open_clip.get_tokenizer(name)
    except FileNotFoundError as error:
        raise UserError(f"clip.model={config.model}: {error}") from None
    except Exception as error:
        if config.weights:
            raise UserError(
                f"clip.weights={config.weights}: cannot be loaded into {config.model} ({_first_line(error)}); "
                "give weights of that architecture as .safetensors, or a .pt file that holds tensors only"
            ) from error
        raise UserError(
            f"clip.model={config.model} clip.pretrained={config.pretrained}: the weights or the tokenizer could not be "
            f"downloaded ({_first_line(error)}); connect to the hub once, or download the file elsewhere and give clip.weights=FILE"
        ) from error
    return model, preprocess, tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class OpenClipEncoder:
    """A frozen `open_clip` model. Context length, width and tokenizer are the model's own."""

    def __init__(self, config: OpenClipConfig, device: str = "cpu") -> None:
        """Builds the model and loads its weights.

        Raises:
            UserError: for an unknown architecture or tag, an unusable file, an unreachable hub.
        """
        _check(config)
        model, self._preprocess, self._tokenizer = _load(config, device)
        self._model = model.eval().requires_grad_(False)
        self._device = device
        self._batch_size = config.batch_size
        self._tower = causal_text_tower(model)
        self.context_length: int = getattr(model, "context_length", None) or model.text.context_length
        source = config.pretrained or (Path(config.weights).name if config.weights else None)
        self.name = f"{config.model} ({source})" if source else config.model
        self.dim = int(self.encode_texts(["a"]).shape[-1])
        self.fingerprint = weights_fingerprint(model)
        probe = self._tokenizer(_TOKENIZER_PROBE, self.context_length)
        self.text_key = fingerprint([self.fingerprint, str(self.context_length), probe.numpy().tobytes()])
        self.image_key = fingerprint([self.fingerprint, repr(self._preprocess)])

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Raw text vectors, shape (texts, dim), float32; texts beyond the context are cut."""
        tokens = self._tokenizer(list(texts), self.context_length)
        if self._tower is None:
            batches = tokens.split(self._batch_size)
            return _numpy(torch.cat([self._model.encode_text(batch.to(self._device)) for batch in batches]))
        lengths = self._tower.lengths(tokens)
        order = lengths.argsort(stable=True)
        encoded = [
            self._tower(tokens[rows, : int(lengths[rows[-1]])].to(self._device))
            for rows in order.split(self._batch_size)
        ]
        return _numpy(torch.cat(encoded)[order.argsort()])

    @torch.inference_mode()
    def encode_images(self, images: Iterable[Image.Image]) -> Floats:
        """Raw picture vectors, shape (images, dim), float32; of full size there is one picture at a time."""
        prepared = map(self._preprocess, images)
        encoded = [np.empty((0, self.dim), dtype=np.float32)]
        while batch := list(islice(prepared, self._batch_size)):
            encoded.append(_numpy(self._model.encode_image(torch.stack(batch).to(self._device))))
        return np.concatenate(encoded)

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts do not fit the context, seen by tokenizing with room for one more token."""
        roomy = self.context_length + 1
        padding = self._tokenizer([""], roomy)[0, -1]
        tokens = self._tokenizer(list(texts), roomy)
        return int((tokens[:, -1] != padding).sum())


def _numpy(vectors: Tensor) -> Floats:
    return vectors.float().cpu().numpy().astype(np.float32, copy=False)
