"""Trees of tokens that continue a context: all branches of a scene share one row, and each sees its own tokens only.

A language model usually computes every branch (a beam, a label) as a row, with a copy of the context and of the tokens
before it. Here a row is a scene. Its context is computed once, all branches attend to the same keys and values, and a
mask shows each token the context and its own ancestors. So a beam that changes its parent copies nothing.

Shapes: b scenes, c tokens of the context, n new tokens per scene, u used slots (new ones included), v vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, EncoderDecoderCache

from close_transfer.models.lm_wrappers import Context

# Families whose texts and scores were compared with transformers' `generate`. Others may read masks or positions in
# another way.
_DECODERS = ("gpt2", "gptj", "llama", "opt", "qwen2", "qwen3")
_ATTENTIONS = ("eager", "sdpa")  # others, such as FlashAttention, read no mask of branches


class _Slots(DynamicLayer):
    """Keys and values of a layer in memory that is allocated once, instead of being copied for every new token."""

    keys: Tensor
    values: Tensor

    def __init__(self, num_slots: int) -> None:
        super().__init__()
        self.num_slots, self.num_used = num_slots, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty((*key_states.shape[:2], self.num_slots, key_states.shape[-1]))
        self.values = value_states.new_empty((*value_states.shape[:2], self.num_slots, value_states.shape[-1]))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        first, self.num_used = self.num_used, self.num_used + key_states.shape[2]
        self.keys[:, :, first : self.num_used] = key_states
        self.values[:, :, first : self.num_used] = value_states
        return self.keys[:, :, : self.num_used], self.values[:, :, : self.num_used]

    def get_seq_length(self) -> int:
        return self.num_used


class TokenTree(ABC):
    """Tokens that continue the contexts of scenes."""

    def __init__(self, lm: PreTrainedModel, context: Context, depths: Tensor) -> None:
        """Allocate the slots.

        Args:
            lm: language model, in evaluation mode.
            context: contexts of the scenes.
            depths: number of tokens between the context and the token of each slot, shape (slots,), int64.
        """
        self._lm, self._context, self._depths = lm, context, depths
        num_layers = getattr(lm.config, "num_decoder_layers", None) or lm.config.num_hidden_layers
        self._layers: list[Any] = [_Slots(self.num_before + len(depths)) for _ in range(num_layers)]

    @property
    @abstractmethod
    def num_before(self) -> int:
        """Return the number of slots before the first token."""

    @abstractmethod
    def read(self) -> Float[Tensor, "b v"]:
        """Compute the contexts; return the logits of the token after each."""

    @abstractmethod
    def extend(self, ids: Int[Tensor, "b n"], visible: Bool[Tensor, "b n u"]) -> Float[Tensor, "b n v"]:
        """Put tokens into the next slots; return the logits of the token after each.

        Args:
            ids: token ids.
            visible: True for the used slots that a token sees: those of its ancestors, and its own.
        """

    def select(self, rows: Int[Tensor, " r"]) -> None:
        """Keep these scenes only."""
        self._context = self._context.select(rows)
        for layer in self._layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    def _build_mask(self, visible: Tensor, before: Tensor) -> Tensor:
        """Return a mask to add to attention scores, (b, 1, n, slots): 0 for what a token sees, else the lowest number."""
        return self._hide(torch.cat([before[:, None].expand(-1, visible.shape[1], -1), visible], dim=2))[:, None]

    def _hide(self, is_seen: Tensor) -> Tensor:
        # PyTorch's attention takes booleans as well, but GPT-J adds the mask to its scores.
        dtype = self._context.states.dtype
        return torch.zeros_like(is_seen, dtype=dtype).masked_fill_(~is_seen, torch.finfo(dtype).min)


class DecoderOnlyTree(TokenTree):
    """Tokens in the rows of GPT-like models, after their contexts, which are padded on the left."""

    @property
    def num_before(self) -> int:
        return self._context.mask.shape[1]

    def read(self) -> Tensor:
        mask = self._context.mask
        output = self._lm(
            inputs_embeds=self._context.states,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            past_key_values=Cache(layers=self._layers),
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    def extend(self, ids: Tensor, visible: Tensor) -> Tensor:
        mask, num_used = self._context.mask, visible.shape[2]
        depths = self._depths[num_used - ids.shape[1] : num_used]
        for layer in self._layers:
            layer.num_used = self.num_before + num_used - ids.shape[1]
        return self._lm(
            input_ids=ids,
            attention_mask=self._build_mask(visible, mask.bool()),
            position_ids=mask.sum(dim=1, keepdim=True) + depths,
            past_key_values=Cache(layers=self._layers),
            use_cache=True,
        ).logits


class EncoderDecoderTree(TokenTree):
    """Tokens in a decoder, after its start token; cross-attention is shared by all of them."""

    def __init__(self, lm: PreTrainedModel, context: Context, depths: Tensor) -> None:
        super().__init__(lm, context, depths)
        self._cross = DynamicCache()
        self._positions = torch.cat([depths.new_zeros(1), depths + 1])  # the start token is at 0

    @abstractmethod
    def _decode(self, ids: Tensor, mask: Tensor, slots: slice, cache: EncoderDecoderCache) -> Tensor:
        """Return the logits after tokens, shape (b, n, v).

        Args:
            ids: token ids, shape (b, n).
            mask: mask to add to attention scores, shape (b, 1, n, slots up to the last of these tokens).
            slots: slots of these tokens.
            cache: keys and values of the slots before them, and of the context.
        """

    @property
    def num_before(self) -> int:
        return 1

    def read(self) -> Tensor:
        states = self._context.states
        start = self._lm.generation_config.decoder_start_token_id
        ids = torch.full((len(states), 1), start, dtype=torch.long, device=states.device)
        return self.extend(ids, torch.ones(len(states), 1, 0, dtype=torch.bool, device=states.device))[:, 0]

    def extend(self, ids: Tensor, visible: Tensor) -> Tensor:
        num_slots = 1 + visible.shape[2]
        first = num_slots - ids.shape[1]
        for layer in self._layers:
            layer.num_used = first
        before = torch.ones(len(ids), 1, dtype=torch.bool, device=ids.device)
        cache = EncoderDecoderCache(Cache(layers=self._layers), self._cross)
        return self._decode(ids, self._build_mask(visible, before), slice(first, num_slots), cache)

    def select(self, rows: Tensor) -> None:
        super().select(rows)
        cross_layers: list[Any] = self._cross.layers
        for layer in cross_layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]


class T5Tree(EncoderDecoderTree):
    """Tokens in T5's decoder, whose positions are a bias of its attention."""

    def __init__(self, lm: PreTrainedModel, context: Context, depths: Tensor) -> None:
        super().__init__(lm, context, depths)
        self._decoder = lm.get_decoder()
        self._cross_mask = self._hide(context.mask.bool())[:, None, None]
        self._bias = self._compute_position_bias()

    def _decode(self, ids: Tensor, mask: Tensor, slots: slice, cache: EncoderDecoderCache) -> Tensor:
        with self._use_bias(self._bias[:, :, slots, : slots.stop]):
            hidden = self._decoder(
                input_ids=ids,
                attention_mask=mask,
                encoder_hidden_states=self._context.states,
                encoder_attention_mask=self._cross_mask,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
        # As in T5's own forward pass; older versions of transformers scale if the embeddings are tied.
        config = self._lm.config
        if getattr(config, "scale_decoder_outputs", config.tie_word_embeddings):
            hidden = hidden * config.d_model**-0.5
        return self._lm.get_output_embeddings()(hidden)

    def select(self, rows: Tensor) -> None:
        super().select(rows)
        self._cross_mask = self._cross_mask[rows]

    def _compute_position_bias(self) -> Tensor:
        """Return T5's bias of relative positions of every slot, seen from every slot; shape (1, heads, slots, slots)."""
        attention = self._decoder.block[0].layer[0].SelfAttention
        buckets = attention._relative_position_bucket(
            self._positions[None] - self._positions[:, None],
            bidirectional=False,
            num_buckets=attention.relative_attention_num_buckets,
            max_distance=attention.relative_attention_max_distance,
        )
        return attention.relative_attention_bias(buckets).permute(2, 0, 1)[None]

    @contextmanager
    def _use_bias(self, bias: Tensor) -> Iterator[None]:
        """Give the decoder this bias, because it takes the number of a slot as the position of its token."""
        attention = self._decoder.block[0].layer[0].SelfAttention
        attention.compute_bias = lambda *args, **kwargs: bias
        try:
            yield
        finally:
            del attention.compute_bias


class CaptionerTree(EncoderDecoderTree):
    """Tokens in a captioner's decoder, whose positions are learned vectors."""

    def _decode(self, ids: Tensor, mask: Tensor, slots: slice, cache: EncoderDecoderCache) -> Tensor:
        return self._lm(
            encoder_outputs=(self._context.states,),
            attention_mask=self._context.mask,
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            decoder_position_ids=self._positions[slots],
            past_key_values=cache,
        ).logits


_ENCODER_DECODER_TREES: Mapping[str, type[TokenTree]] = {"t5": T5Tree, "captioner": CaptionerTree}


def has_token_tree(lm: PreTrainedModel) -> bool:
    """Return True if the language model's family can continue contexts by trees of tokens."""
    config = lm.config
    if config._attn_implementation not in _ATTENTIONS:
        return False
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):  # forgets what a branch still needs
        return False
    return config.model_type in (_ENCODER_DECODER_TREES if config.is_encoder_decoder else _DECODERS)


def build_token_tree(lm: PreTrainedModel, context: Context, depths: Tensor) -> TokenTree:
    """Build the tree of a language model for which `has_token_tree` is True; see `TokenTree`."""
    config = lm.config
    tree = _ENCODER_DECODER_TREES[config.model_type] if config.is_encoder_decoder else DecoderOnlyTree
    return tree(lm, context, depths)
