"""A layer of a captioner's decoder that reads new tokens only: keys and values of earlier ones are in a cache.

It computes what `nn.TransformerDecoderLayer` computes with the norms first. PyTorch's layer takes no keys and values that
were computed before, so its attentions are called here by their weights.

Shapes: b scenes, n new tokens, u tokens with the earlier ones, k tokens of an image, h width, d width of a head.
"""

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.cache_utils import EncoderDecoderCache


def _split_heads(states: Float[Tensor, "b n h"], num_heads: int) -> Float[Tensor, "b heads n d"]:
    return states.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def _project_keys_and_values(attention: nn.MultiheadAttention, states: Tensor) -> tuple[Tensor, Tensor]:
    keys, values = F.linear(states, attention.in_proj_weight[attention.embed_dim :]).chunk(2, dim=-1)
    return _split_heads(keys, attention.num_heads), _split_heads(values, attention.num_heads)


def _attend(
    attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
) -> Float[Tensor, "b n h"]:
    queries = F.linear(queries, attention.in_proj_weight[: attention.embed_dim])
    read = F.scaled_dot_product_attention(_split_heads(queries, attention.num_heads), keys, values, attn_mask=mask)
    return attention.out_proj(read.transpose(1, 2).flatten(2))


def extend_layer(
    layer: nn.TransformerDecoderLayer,
    number: int,
    hidden: Float[Tensor, "b n h"],
    visible: Bool[Tensor, "#b 1 n u"] | Float[Tensor, "#b 1 n u"] | None,
    memory: Float[Tensor, "b k h"],
    is_read: Bool[Tensor, "b 1 1 k"] | None,
    cache: EncoderDecoderCache,
) -> Float[Tensor, "b n h"]:
    """Return the new tokens after this layer, and add their keys and values to the cache.

    Args:
        layer: PyTorch's layer, with `norm_first=True`, without biases, in evaluation mode.
        number: its number, from 0.
        hidden: new tokens.
        visible: mask of the tokens that each new token sees, as of `scaled_dot_product_attention`; None: all.
        memory: the image's tokens, which are read at the first call only.
        is_read: True for the image's tokens that count; None: all do.
        cache: keys and values of earlier tokens, and of the image.
    """
    normed = layer.norm1(hidden)
    keys, values = cache.self_attention_cache.update(*_project_keys_and_values(layer.self_attn, normed), number)
    hidden = hidden + _attend(layer.self_attn, normed, keys, values, visible)
    cross = cache.cross_attention_cache
    if not cache.is_updated.get(number):
        cross.update(*_project_keys_and_values(layer.multihead_attn, memory), number)
        cache.is_updated[number] = True
    read: Any = cross.layers[number]
    hidden = hidden + _attend(layer.multihead_attn, layer.norm2(hidden), read.keys, read.values, is_read)
    return hidden + layer.linear2(layer.activation(layer.linear1(layer.norm3(hidden))))
