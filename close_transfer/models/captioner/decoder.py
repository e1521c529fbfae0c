"""Decoder of a captioner: a transformer that reads an image's tokens by cross-attention (Cap, CapPa, arXiv 2306.07915).

As in big_vision: norms before the layers, no biases in the layers, no dropout, learned positions, token embeddings of
standard deviation 1, and an output layer that shares no weights and starts at zero. The last norm and the output layer
have biases. A layer is PyTorch's own.

For transformers it is an encoder-decoder whose encoder returns its input, so `generate` decodes it. With a cache of keys
and values, `cached_layer.py` computes its layers.

Shapes: t targets, k tokens of an image, h width, l target tokens, v vocabulary.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Int
from timm.layers import lecun_normal_
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from close_transfer.models.captioner.cached_layer import extend_layer
from close_transfer.models.lm_wrappers import IGNORED

_NORM_EPSILON = 1e-6  # flax's and timm's; PyTorch's is ten times that
_MLP_RATIO = 4  # width of the MLP in units of the width, as in every published vision transformer


class CaptionerDecoderConfig(PreTrainedConfig):
    """Sizes of a decoder.

    Attributes:
        vocab_size: number of tokens that it writes; it reads one more, the mask.
        width: width of its tokens, and of the image's.
        depth: number of layers.
        heads: number of attention heads of a layer.
        num_positions: largest number of tokens of a text, with the end token.
        is_blind: True if it does not see the image, as a control.
    """

    model_type = "captioner"
    attribute_map = {  # noqa: RUF012  # transformers reads it from the class
        "hidden_size": "width",
        "num_hidden_layers": "depth",
        "num_attention_heads": "heads",
        "max_position_embeddings": "num_positions",
    }

    def __init__(
        self,
        vocab_size: int = 32_000,
        width: int = 768,
        depth: int = 6,
        heads: int = 12,
        num_positions: int = 64,
        is_blind: bool = False,
        **kwargs: Any,
    ) -> None:
        self.vocab_size, self.width, self.depth, self.heads = vocab_size, width, depth, heads
        self.num_positions, self.is_blind = num_positions, is_blind
        # A saved config holds these too; the class is always an encoder-decoder without shared weights.
        kwargs |= {"is_encoder_decoder": True, "tie_word_embeddings": False}
        super().__init__(**kwargs)


class _Reader(nn.Module):
    """Stand-in for an encoder: returns its input, because the image encoder's tokens are read as they are."""

    def forward(self, inputs_embeds: Tensor, **ignored: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=inputs_embeds)


class CaptionerDecoder(PreTrainedModel, GenerationMixin):
    """Decoder that writes token after token, or in training all tokens at once from masks (parallel prediction)."""

    config_class = CaptionerDecoderConfig
    base_model_prefix = ""
    main_input_name = "decoder_input_ids"

    def __init__(self, config: CaptionerDecoderConfig) -> None:
        super().__init__(config)
        for name in ("decoder_start_token_id", "pad_token_id"):
            if getattr(config, name, None) not in range(config.vocab_size):
                raise ValueError(f"{name}={getattr(config, name, None)} is not a token")
        width = config.width
        self.embedding = nn.Embedding(config.vocab_size + 1, width)  # the last row is the mask; std 1 is the default
        self.positions = nn.Parameter(torch.empty(config.num_positions, width))
        nn.init.normal_(self.positions, std=width**-0.5)
        # Not nn.TransformerDecoder: it copies a layer, which a limit of parameters does not notice.
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width,
                config.heads,
                _MLP_RATIO * width,
                dropout=0.0,
                activation=partial(nn.functional.gelu, approximate="tanh"),
                layer_norm_eps=_NORM_EPSILON,
                batch_first=True,
                norm_first=True,
                bias=False,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, _NORM_EPSILON)
        for name, weight in self.layers.named_parameters():
            if weight.ndim == 2:
                # flax's default for the decoder's attention; the MLPs name Xavier's.
                (lecun_normal_ if "attn" in name else nn.init.xavier_uniform_)(weight)
        self.head = nn.Linear(width, config.vocab_size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._reader = _Reader()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing; the constructor initialises all weights."""

    def get_encoder(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Return the stand-in for an encoder."""
        return self._reader

    def get_input_embeddings(self) -> nn.Module:
        """Return the embeddings of the tokens."""
        return self.embedding

    def get_output_embeddings(self) -> nn.Module:
        """Return the output layer; transformers looks for one named lm_head, and finds none."""
        return self.head

    def forward(
        self,
        encoder_outputs: Any = None,
        attention_mask: Int[Tensor, "t k"] | None = None,
        decoder_input_ids: Int[Tensor, "t l"] | None = None,
        labels: Int[Tensor, "t l"] | None = None,
        is_parallel: Bool[Tensor, " t"] | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        decoder_attention_mask: Tensor | None = None,
        decoder_position_ids: Int[Tensor, " l"] | None = None,
        **ignored: Any,
    ) -> Seq2SeqLMOutput:
        """Return the logits of every target token, shape (t, l, v).

        Args:
            encoder_outputs: `last_hidden_state` with the image's tokens, shape (t, k, h).
            attention_mask: 1 for a token of the image; None: all are.
            decoder_input_ids: tokens to read; None: the labels, each one place later, after the start token.
            labels: tokens to write, `IGNORED` for padding.
            is_parallel: True for texts whose tokens are all predicted at once, in training: every token that is read is
                the mask, and each place attends to all. None: each token follows from those before it.
            past_key_values: cache of the tokens before `decoder_input_ids`, to which these are added. Only with it, the
                next two arguments may be given.
            decoder_attention_mask: mask to add to the scores of attention, shape (t, 1, l, cached and new tokens); None:
                a token sees all cached ones and the new ones up to itself.
            decoder_position_ids: position of each token; None: they follow the cached ones.
        """
        if past_key_values is not None:
            assert decoder_input_ids is not None and is_parallel is None
            return self._extend(
                decoder_input_ids,
                encoder_outputs[0],
                attention_mask,
                past_key_values,
                decoder_attention_mask,
                decoder_position_ids,
            )
        if decoder_input_ids is None:
            assert labels is not None
            decoder_input_ids = self._shift_right(labels)
        if is_parallel is not None:
            mask_id = self.config.vocab_size
            decoder_input_ids = decoder_input_ids.masked_fill(is_parallel[:, None], mask_id)
        length = decoder_input_ids.shape[1]
        hidden = self.embedding(decoder_input_ids) + self.positions[:length]
        is_hidden = torch.ones(length, length, dtype=torch.bool, device=hidden.device).triu(1)
        if is_parallel is not None:
            is_hidden = (is_hidden & ~is_parallel[:, None, None]).repeat_interleave(self.config.heads, dim=0)
        memory, attention_mask = self._select_memory(encoder_outputs[0].to(hidden.dtype), attention_mask)
        for layer in self.layers:
            hidden = layer(
                hidden,
                memory,
                tgt_mask=is_hidden,
                tgt_is_causal=is_parallel is None,
                memory_key_padding_mask=None if attention_mask is None else attention_mask == 0,
            )
        return Seq2SeqLMOutput(logits=self.head(self.norm(hidden)))

    def _select_memory(self, memory: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return what cross-attention reads: the image's tokens and their mask, or one empty token if it is blind."""
        return (torch.zeros_like(memory[:, :1]), None) if self.config.is_blind else (memory, mask)

    def _extend(
        self,
        ids: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        cache: EncoderDecoderCache,
        visible: Tensor | None,
        positions: Tensor | None,
    ) -> Seq2SeqLMOutput:
        """Return the logits after new tokens; arguments as of `forward`."""
        length, num_cached = ids.shape[1], cache.get_seq_length()
        if positions is None:
            positions = torch.arange(num_cached, num_cached + length, device=ids.device)
        if visible is None and length > 1:
            is_seen = torch.ones(length, num_cached + length, dtype=torch.bool, device=ids.device).tril(num_cached)
            visible = is_seen[None, None]
        hidden = self.embedding(ids) + self.positions[positions]
        memory, memory_mask = self._select_memory(memory.to(hidden.dtype), memory_mask)
        is_read = None if memory_mask is None else (memory_mask != 0)[:, None, None]
        for number, layer in enumerate(self.layers):
            hidden = extend_layer(layer, number, hidden, visible, memory, is_read, cache)  # type: ignore[arg-type]
        return Seq2SeqLMOutput(logits=self.head(self.norm(hidden)), past_key_values=cache)

    def prepare_inputs_for_generation(
        self, input_ids: Any, *args: Any, past_key_values: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the arguments of a step of `generate`: the tokens that the cache does not hold, or all without one."""
        num_cached = 0 if past_key_values is None else past_key_values.get_seq_length()
        kept = {name: kwargs.get(name) for name in ("encoder_outputs", "attention_mask")}
        return {"decoder_input_ids": input_ids[:, num_cached:], "past_key_values": past_key_values, **kept}

    def _shift_right(self, labels: Tensor) -> Tensor:
        start = self.config.decoder_start_token_id
        shifted = nn.functional.pad(labels[:, :-1], (1, 0), value=start)
        return shifted.masked_fill(shifted == IGNORED, self.config.pad_token_id)


AutoConfig.register(CaptionerDecoderConfig.model_type, CaptionerDecoderConfig)
AutoModelForSeq2SeqLM.register(CaptionerDecoderConfig, CaptionerDecoder)
