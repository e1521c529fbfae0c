"""Causal text tower that computes each distinct prefix of a batch once, in the precision that the settings ask for.

CLIP's text tower is causal and takes its output from the end token. So tokens after the end token change nothing, texts
with the same beginning share its hidden states, and in the last layer only the end token is needed. On short captions this
is several times as fast as the model's own `encode_text` (``benchmarks/text_encoding.py``), with the same vectors up to
rounding. Other towers need the full length. A node is a distinct prefix (`PrefixBatch`).
"""

from dataclasses import dataclass

import open_clip
import torch
from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn
from torch.nn import functional

from close_transfer.encoders.prefix_batches import PrefixBatch, pad_batch


class _Layer:
    """Weights of one layer. Matrices and their biases are cast once; residual sums, norms and scales stay in float32."""

    def __init__(self, block: ResidualAttentionBlock, dtype: torch.dtype) -> None:
        attention, mlp = block.attn, block.mlp
        self.num_heads = attention.num_heads
        self.norms = (block.ln_1, block.ln_2)
        self.scales = (block.ls_1, block.ls_2)
        self.activation = mlp.gelu
        self._dtype = dtype
        matrices = (
            (attention.in_proj_weight, attention.in_proj_bias),
            (attention.out_proj.weight, attention.out_proj.bias),
            (mlp.c_fc.weight, mlp.c_fc.bias),
            (mlp.c_proj.weight, mlp.c_proj.bias),
        )
        self._input, self._output, self._expand, self._contract = (
            (weight.to(dtype), None if bias is None else bias.to(dtype)) for weight, bias in matrices
        )

    def project(self, x: Float[Tensor, "n d"], first: int, last: int) -> Tensor:
        """Return parts `first` to `last` - 1 of queries (0), keys (1) and values (2); shape (n, parts, heads, size)."""
        normed = self.norms[0](x).to(self._dtype)
        width = x.shape[1]
        weight, bias = self._input
        rows = slice(first * width, last * width)
        projected = functional.linear(normed, weight[rows], None if bias is None else bias[rows])
        return projected.unflatten(1, (last - first, self.num_heads, -1))

    def finish(self, x: Float[Tensor, "n d"], attended: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Add the output of attention, then that of the MLP, to the hidden states."""
        x = x + self.scales[0](functional.linear(attended, *self._output))
        hidden = functional.linear(self.norms[1](x).to(self._dtype), *self._expand)
        return x + self.scales[1](functional.linear(self.activation(hidden), *self._contract))


@dataclass(frozen=True)
class CausalTextTower:
    """Parts of a causal text tower that pools the end token."""

    token_embedding: nn.Module
    positional_embedding: Tensor
    layers: list[_Layer]
    ln_final: nn.Module
    text_projection: nn.Module | Tensor | None
    pool_type: str
    eos_id: int | None

    def count_tokens(self, tokens: Tensor) -> Tensor:
        """Count the tokens up to and including the end token; shape (texts,)."""
        if self.pool_type == "argmax":  # the end token has the highest id
            return tokens.argmax(dim=-1) + 1
        assert self.eos_id is not None
        return tokens.eq(self.eos_id).int().argmax(dim=-1) + 1

    def encode(self, batch: PrefixBatch) -> Float[Tensor, "texts dim"]:
        """Return the vectors of a batch, which is on the model's device."""
        num_texts, batch = len(batch.lengths), pad_batch(batch)
        x = self.token_embedding(batch.tokens).float() + self.positional_embedding[batch.positions].float()
        for layer in self.layers[:-1]:
            x = layer.finish(x, _attend(layer.project(x, 0, 3), batch))
        x = self._finish_last(self.layers[-1], x, batch)
        x = self.ln_final(x)
        if isinstance(self.text_projection, nn.Module):
            x = self.text_projection(x)
        elif self.text_projection is not None:
            x = x @ self.text_projection
        return x[:num_texts]

    def _finish_last(self, layer: _Layer, x: Tensor, batch: PrefixBatch) -> Float[Tensor, "texts dim"]:
        ends = batch.nodes.gather(1, batch.lengths[:, None] - 1)[:, 0]
        x_ends = x[ends]
        queries = layer.project(x_ends, 0, 1)[:, 0, :, None]  # (texts, heads, 1, size)
        keys, values = layer.project(x, 1, 3)[batch.nodes].permute(2, 0, 3, 1, 4)
        columns = torch.arange(batch.nodes.shape[1], device=x.device)
        mask = (columns < batch.lengths[:, None])[:, None, None]
        attended = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return layer.finish(x_ends, attended.flatten(1))


def _attend(projected: Tensor, batch: PrefixBatch) -> Float[Tensor, "nodes d"]:
    """Return attention's output at each node, from queries, keys and values of shape (nodes, 3, heads, size)."""
    queries, keys, values = projected[batch.nodes].permute(2, 0, 3, 1, 4)
    attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    return attended.transpose(1, 2).flatten(0, 1)[batch.firsts].flatten(1)


def _is_causal(mask: Tensor | None) -> bool:
    if mask is None or mask.ndim != 2:
        return False
    forbidden = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool((mask[forbidden] == float("-inf")).all() and (mask[~forbidden] == 0).all())


def _is_plain(block: nn.Module) -> bool:
    """Return True if the layer has only the parts that `_Layer` computes."""
    # A subclass may compute more. The first condition is for the type checker.
    if not isinstance(block, ResidualAttentionBlock) or type(block) is not ResidualAttentionBlock:
        return False
    attention = block.attn
    return (
        not hasattr(block, "ln_1_kv")
        and attention.in_proj_weight is not None
        and attention.bias_k is None
        and not attention.add_zero_attn
        and [name for name, _ in block.mlp.named_children()] == ["c_fc", "gelu", "c_proj"]
    )


def find_causal_text_tower(model: nn.Module, dtype: torch.dtype = torch.float32) -> CausalTextTower | None:
    """Return the model's text tower, or None if it cannot be computed here.

    It cannot if it is not causal, takes its output from another token, has a class token or a mask of padding, or has
    layers with other parts than `_Layer` computes.

    Args:
        model: model of open_clip with float32 weights, on its device.
        dtype: precision of matrix products and attention.
    """
    if isinstance(model, open_clip.CLIP):
        tower, pool_type, eos_id = model, model.text_pool_type, model.text_eos_id
    else:
        tower = getattr(model, "text", None)
        if not isinstance(tower, TextTransformer) or tower.cls_emb is not None or tower.use_pad_mask:
            return None
        pool_type, eos_id = tower.pool_type, tower.eos_id
    blocks = getattr(tower.transformer, "resblocks", ())
    if pool_type not in ("argmax", "eos") or not _is_causal(tower.attn_mask):
        return None
    if not blocks or not all(map(_is_plain, blocks)):
        return None
    return CausalTextTower(
        tower.token_embedding,
        tower.positional_embedding,
        [_Layer(block, dtype) for block in blocks],
        tower.ln_final,
        tower.text_projection,
        pool_type,
        eos_id,
    )
