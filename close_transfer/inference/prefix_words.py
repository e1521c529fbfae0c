"""What the mapper's tokens look like to the language model: the words whose embeddings lie nearest.

ClipCap reads its prefixes so (arXiv 2111.09734, section 4.2, "Prefix interpretability"): where the language model was
trained along, what is nearest often says little; where it is frozen, the tokens must be near what it knows.
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
    """A token of the vocabulary, and the cosine of its embedding with a token of the prefix."""

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
    """For each vector and each token that the mapper makes of it, the nearest words, nearest first.

    Args:
        network: a trained one.
        tokenizer: of its language model.
        vectors: raw, of the encoder.
        input_modality: what they were made from.
        count: words a token.
    """
    network.eval()
    adapted = network.adapter(vectors.to(network.device), input_modality)
    prefix = F.normalize(network.mapper(adapted).float(), dim=-1)
    weights = network.lm.get_input_embeddings().weight
    assert isinstance(weights, Tensor)
    embeddings = F.normalize(weights[: len(tokenizer)].float(), dim=-1)
    words_by_vector = []
    for tokens in prefix:
        cosines, ids = (tokens @ embeddings.T).topk(count, dim=-1)
        words_by_vector.append(
            [
                [
                    NearWord(str(tokenizer.decode([number])).strip(), value)
                    for number, value in zip(row, values, strict=True)
                ]
                for row, values in zip(ids.tolist(), cosines.tolist(), strict=True)
            ]
        )
    return words_by_vector
