"""Text tower that runs on the tokens of the longest text only, instead of on its full context.

CLIP's text tower is causal and pools the end token, so tokens after the end token change nothing. Batches are
therefore cut to their longest text, which on short captions is more than twice as fast
(``benchmarks/text_encoding.py``). Towers that are not causal or pool another token need the full length.
"""

from dataclasses import dataclass

import open_clip
import torch
from open_clip.transformer import TextTransformer, Transformer, text_global_pool
from torch import Tensor, nn


@dataclass(frozen=True)
class CausalTextTower:
    """Parts of a causal text tower that pools the end token."""

    token_embedding: nn.Module
    positional_embedding: Tensor
    transformer: Transformer
    attn_mask: Tensor
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

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return the vectors of tokenized texts, (texts, any length up to the context); shape (texts, dim)."""
        length = tokens.shape[1]
        dtype = self.transformer.get_cast_dtype()
        x = self.token_embedding(tokens).to(dtype) + self.positional_embedding[:length].to(dtype)
        x = self.transformer(x, attn_mask=self.attn_mask[:length, :length])
        x = text_global_pool(self.ln_final(x), tokens, self.pool_type, eos_token_id=self.eos_id)
        if self.text_projection is None:
            return x
        return self.text_projection(x) if isinstance(self.text_projection, nn.Module) else x @ self.text_projection


def _is_causal(mask: Tensor | None) -> bool:
    if mask is None or mask.ndim != 2:
        return False
    forbidden = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool((mask[forbidden] == float("-inf")).all() and (mask[~forbidden] == 0).all())


def find_causal_text_tower(model: nn.Module) -> CausalTextTower | None:
    """Return the model's text tower if it is causal and pools the end token, else None."""
    if isinstance(model, open_clip.CLIP):
        tower, pool_type, eos_id = model, model.text_pool_type, model.text_eos_id
    else:
        tower = getattr(model, "text", None)
        if not isinstance(tower, TextTransformer) or tower.cls_emb is not None or tower.use_pad_mask:
            return None
        pool_type, eos_id = tower.pool_type, tower.eos_id
    if pool_type not in ("argmax", "eos") or not _is_causal(tower.attn_mask):
        return None
    return CausalTextTower(
        tower.token_embedding,
        tower.positional_embedding,
        tower.transformer,
        tower.attn_mask,
        tower.ln_final,
        tower.text_projection,
        pool_type,
        eos_id,
    )
