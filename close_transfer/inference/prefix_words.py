"""Nearest words of the mapper's tokens: the vocabulary entries whose embeddings are most similar to them.

ClipCap interprets its prefixes in this way (arXiv 2111.09734, section 4.2, "Prefix interpretability"). The words often
say little if the language model was trained too; if it was frozen, the tokens must be near embeddings that it knows.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from close_transfer.config.choices import InputModality
from close_transfer.models.network import TransferNetwork


@dataclass(frozen=True)
class NearWord:
    """A token of the vocabulary near a token of the prefix.

    Attributes:
        word: text of the token.
        cosine: cosine similarity of the two embeddings.
    """

    word: str
    cosine: float


@torch.inference_mode()
def find_nearest_words(
    network: TransferNetwork,
    tokenizer: PreTrainedTokenizerBase,
    vectors: Float[Tensor, "b *k d"],
    input_modality: InputModality,
    count: int = 5,
) -> list[list[list[NearWord]]]:
    """Return the nearest words of each token that the mapper makes from each vector, nearest first.

    Args:
        network: trained network, which is switched to evaluation mode.
        tokenizer: tokenizer of its language model.
        vectors: raw vectors of the encoder.
        input_modality: modality that the vectors come from.
        count: words per token.

    Returns:
        For each vector, for each token of its prefix, `count` words.
    """
    network.eval()
    adapted = network.adapt(vectors.to(network.device), input_modality)
    prefix = F.normalize(network.mapper(adapted).float(), dim=-1)
    weights = network.lm.get_input_embeddings().weight
    assert isinstance(weights, Tensor)
    # Some models have more embeddings than words, padded to a multiple for speed; the rest was never trained.
    embeddings = F.normalize(weights[: len(tokenizer)].float(), dim=-1)
    words_by_vector = []
    for tokens in prefix:
        cosines, ids = (tokens @ embeddings.T).topk(count, dim=-1)
        words_by_vector.append(
            [
                [
                    NearWord(str(tokenizer.decode([token_id])).strip(), cosine)
                    for token_id, cosine in zip(token_ids, token_cosines, strict=True)
                ]
                for token_ids, token_cosines in zip(ids.tolist(), cosines.tolist(), strict=True)
            ]
        )
    return words_by_vector
