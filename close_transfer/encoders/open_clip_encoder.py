"""Frozen encoders of `open_clip`: any architecture, with the weights of a tag or of a local file."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.tokenizer import HFTokenizer
from PIL import Image
from torch import Tensor

from close_transfer.config.components import OpenClipConfig
from close_transfer.core.arrays import Float32Array, IntArray
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.core.threads import count_cores
from close_transfer.encoders.background import copy_to_device, fetch_late, map_ahead
from close_transfer.encoders.clip_tokenizer import FastClipTokenizer, speed_up_tokenizer
from close_transfer.encoders.encoder import build_no_text_tower_error, flatten_grid
from close_transfer.encoders.image_batches import BatchedImageEncoder
from close_transfer.encoders.image_reading import ImageReader
from close_transfer.encoders.open_clip_loading import RANDOM, load_clip
from close_transfer.encoders.out_of_memory import advise_halving, explain_lack_of_memory, explain_too_many_images
from close_transfer.encoders.precision import cast_products, get_dtype, list_key_parts, resolve_precision
from close_transfer.encoders.prefix_batches import PrefixBatch, plan_batches
from close_transfer.encoders.text_forward import find_causal_text_tower
from close_transfer.encoders.weights_fingerprint import fingerprint_weights

_logger = logging.getLogger(__name__)

_AT_ONCE = 4096  # texts per call of a tokenizer of Hugging Face

# Texts whose tokens differ between tokenizers. The tokens are part of the text key, because a tokenizer has no name
# that identifies it.
_TOKENIZER_PROBE = ["A photo of two dogs, on Grass.", "Zwölf Boxkämpfer 123 ≠ 456", "lowercase UPPERCASE 犬"]

# Tokens per text of a batch on a CPU, so that batch_size=256 gives batches of 4,096 tokens: larger ones leave the caches.
_CPU_WIDTH = 16

# Positions of a batch's texts in their group, and what the tower takes: prefixes, or tokens of the full context.
PreparedBatch = tuple[IntArray, PrefixBatch | Tensor]


class OpenClipEncoder(BatchedImageEncoder):
    """Frozen `open_clip` model, with the model's own context length, width and tokenizer."""

    def __init__(self, config: OpenClipConfig, device: str = "cpu") -> None:
        """Build the model and load its weights.

        Raises:
            UserError: for an unknown architecture or tag, an unusable file, or an unreachable hub.
        """
        loaded = load_clip(config, device)
        model, self._preprocess, self._tokenizer = loaded.model, loaded.preprocess, loaded.tokenizer
        self._model = model.eval().requires_grad_(False)
        self._device = device
        self.precision = resolve_precision(config.precision, device)
        self._batch_size = config.batch_size
        self._reader = ImageReader(self._preprocess, config.batch_size, device)
        source = ", ".join(filter(None, [config.pretrained, Path(config.weights).name if config.weights else None]))
        source = f"random weights, seed {config.seed}" if source == RANDOM else source
        self.name = f"{config.model} ({source})" if source else config.model
        self.fingerprint = fingerprint_weights(model)
        grid = ["grid"] if config.features == "grid" else []
        # The same weights give different vectors with another activation or precision.
        variant = ["quick_gelu"] if loaded.usage is not None and loaded.usage.quick_gelu else []
        variant += list_key_parts(self.precision)
        self.image_key = fingerprint([self.fingerprint, repr(self._preprocess), *grid, *variant])
        if self._tokenizer is None:
            self.name += ", grid"
            self._check_grid()
            self.dim = int(self.encode_images([Image.new("RGB", (8, 8))]).shape[-1])
            self.text_key = ""
            return
        self._tokenizer = speed_up_tokenizer(self._tokenizer)
        self._tower = find_causal_text_tower(model, get_dtype(self.precision))
        self.context_length: int = getattr(model, "context_length", None) or self._tokenizer.context_length
        self.dim = int(self.encode_texts(["a"]).shape[-1])
        probe = self._tokenizer(_TOKENIZER_PROBE, self.context_length)
        self.text_key = fingerprint([self.fingerprint, str(self.context_length), probe.numpy().tobytes(), *variant])

    def _check_grid(self) -> None:
        if not hasattr(self._model.visual, "forward_intermediates"):
            raise UserError(
                f"clip.features=grid: the image tower of {self.name} does not return a grid. Use clip.features=pooled"
            )

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Return raw text vectors, shape (texts, dim), float32; texts longer than the context are cut."""
        (vectors,) = self._iterate_text_groups([texts])
        return vectors

    def encode_text_groups(self, groups: Iterable[Sequence[str]]) -> Iterator[Float32Array]:
        """Yield the raw text vectors of each group; the next groups are tokenized meanwhile."""
        tokenizer = self._tokenizer
        num_texts, num_slow = getattr(tokenizer, "num_texts", 0), getattr(tokenizer, "num_slow", 0)
        yield from self._iterate_text_groups(groups)
        if isinstance(tokenizer, FastClipTokenizer) and tokenizer.num_slow > num_slow:
            _logger.info(
                "%s of %s texts went through open_clip's own tokenizer, which is slower, because they have letters or signs "
                "that it may repair",
                f"{tokenizer.num_slow - num_slow:,}",
                f"{tokenizer.num_texts - num_texts:,}",
            )

    def _iterate_text_groups(self, groups: Iterable[Sequence[str]]) -> Iterator[Float32Array]:
        if self._tokenizer is None:
            raise build_no_text_tower_error(self.name)
        prepared = map_ahead(self._prepare_texts, groups, _count_threads(self._tokenizer, self._device))
        return fetch_late(map(self._encode_prepared, prepared))

    def _prepare_texts(self, texts: Sequence[str]) -> list[PreparedBatch]:
        """Tokenize texts and divide them into batches of about equal work."""
        tokens = self._tokenizer(list(texts), self.context_length)
        if self._tower is None:
            positions = torch.arange(len(texts)).split(self._batch_size)
            return [(rows.numpy(), tokens[rows]) for rows in positions]
        # A CPU is fastest with batches that fit its caches; a GPU with large ones.
        width = _CPU_WIDTH if self._device == "cpu" else self.context_length
        lengths = self._tower.count_tokens(tokens).numpy()
        return list(plan_batches(tokens.numpy(), lengths, self._batch_size * width))

    @torch.inference_mode()
    def _encode_prepared(self, batches: list[PreparedBatch]) -> Tensor:
        advice = advise_halving("clip.batch_size", self._batch_size)
        with explain_lack_of_memory(f"encoding texts with clip.batch_size={self._batch_size}", advice):
            vectors = [self._encode_batch(batch) for _, batch in batches]
        order = np.argsort(np.concatenate([positions for positions, _ in batches]))
        return torch.cat(vectors)[copy_to_device(torch.from_numpy(order), self._device)]

    def _encode_batch(self, batch: PrefixBatch | Tensor) -> Tensor:
        if isinstance(batch, PrefixBatch):
            assert self._tower is not None
            return self._tower.encode(batch.to(self._device))
        with cast_products(self.precision, self._device):
            return self._model.encode_text(copy_to_device(batch, self._device))

    @explain_too_many_images
    @torch.inference_mode()
    def _encode(self, images: Tensor) -> Tensor:
        with cast_products(self.precision, self._device):
            if self._tokenizer is not None:
                return self._model.encode_image(images)
            outputs = self._model.visual.forward_intermediates(
                images, indices=1, normalize_intermediates=True, intermediates_only=True, output_fmt="NCHW"
            )
            return flatten_grid(outputs["image_intermediates"][0])

    def count_cut(self, texts: Sequence[str]) -> int:
        """Return the number of texts that do not fit the context."""
        # Tokenizers cut silently. With room for one more token, only texts that are too long fill the last place.
        longer_context = self.context_length + 1
        if isinstance(self._tokenizer, HFTokenizer) and not self._tokenizer.tokenizer_mode:
            # The same without padding and tensors, which take longer than the tokens.
            cleaned = [self._tokenizer.clean_fn(text) for text in texts]
            tokenize = self._tokenizer.tokenizer
            ids = [
                tokenize(
                    cleaned[start : start + _AT_ONCE],
                    max_length=longer_context,
                    truncation=True,
                    return_attention_mask=False,
                ).input_ids
                for start in range(0, len(cleaned), _AT_ONCE)
            ]
            return sum(len(row) == longer_context for part in ids for row in part)
        padding = self._tokenizer([""], longer_context)[0, -1]
        tokens = self._tokenizer(list(texts), longer_context)
        return int((tokens[:, -1] != padding).sum())


def _count_threads(tokenizer: Any, device: str) -> int:
    """Return the number of threads that tokenize; a GPU is faster than one of them.

    Tokenizers of Hugging Face must not be called from several threads at a time.
    """
    if device == "cpu" or not isinstance(tokenizer, FastClipTokenizer):
        return 1
    return min(4, count_cores())
