"""Mappers: from an encoder's vector, or its grid of vectors, to input tokens of the language model.

Shapes: b examples, optional k vectors per example (grid features), d width of the vectors, t tokens,
h width of the language model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from close_transfer.core.errors import UserError

# Initial weights are a tenth of PyTorch's default. Images are displaced from texts along directions in
# which texts hardly vary. Training on texts leaves the weights along these directions as they began, and
# weights of the default size would add noise to the tokens of every image.
_INITIAL_SCALE = 0.1


class _Input(nn.Linear):
    """First layer; unit vectors are scaled to coordinates of size one, which models from scratch prefer."""

    def __init__(self, vector_dim: int, width: int) -> None:
        super().__init__(vector_dim, width)
        with torch.no_grad():
            self.weight.mul_(_INITIAL_SCALE)

    def forward(self, vectors: Tensor) -> Tensor:
        return super().forward(vectors * vectors.shape[-1] ** 0.5)


class Mapper(nn.Module, ABC):
    """Base class of the trained part between the frozen encoder and the language model: maps vectors to tokens.

    A subclass is built from the width of the vectors, the width of the language model, and the settings of its YAML
    except `name`.

    Attributes:
        tokens_per_vector: number of tokens per vector.
        more_tokens: number of tokens in addition, for any number of vectors.
        reads_raw_vectors: True if it reads the encoder's vectors themselves, without adapters and at their own length.
    """

    tokens_per_vector: int
    more_tokens: int = 0
    reads_raw_vectors: ClassVar[bool] = False

    @abstractmethod
    def forward(self, vectors: Float[Tensor, "b *k d"]) -> Float[Tensor, "b t h"]:
        """Map each example's vector or vectors to tokens."""


class LinearMapper(Mapper):
    """One linear layer from a vector to a few tokens, followed by learned constant tokens.

    CLOSE (arXiv 2211.09778, section 3.1): 4 tokens and no constants; 768 to 4 x 768 has 2,362,368 parameters.
    LiMBeR (arXiv 2209.15162, section 3): one token per vector of a grid. Constants start at zero.
    """

    def __init__(self, vector_dim: int, token_dim: int, num_tokens: int, num_constant_tokens: int) -> None:
        """Set the layer up for width d (`vector_dim`) and width h (`token_dim`); there may be no constants."""
        super().__init__()
        self.token_dim = token_dim
        self.tokens_per_vector, self.more_tokens = num_tokens, num_constant_tokens
        self.linear = _Input(vector_dim, num_tokens * token_dim)
        self.constants = nn.Parameter(torch.zeros(num_constant_tokens, token_dim))

    def forward(self, vectors: Tensor) -> Tensor:
        tokens = _split_into_tokens(self.linear(vectors), self.token_dim)
        return torch.cat([tokens, self.constants.expand(len(tokens), -1, -1)], dim=1)


class MlpMapper(Mapper):
    """Two linear layers with a hyperbolic tangent between them.

    ClipCap (arXiv 2111.09734, section 3.2, and its code): 10 tokens, and a hidden width of half of all tokens'
    width; 640 to 10 x 768 has 31,960,320 parameters (32M in the paper's table).
    """

    def __init__(self, vector_dim: int, token_dim: int, num_tokens: int, hidden_dim: int | None) -> None:
        """Set the layers up; `hidden_dim` is the width between them, None for half of all tokens' width."""
        super().__init__()
        self.token_dim = token_dim
        self.tokens_per_vector = num_tokens
        hidden_dim = hidden_dim or num_tokens * token_dim // 2
        self.first = _Input(vector_dim, hidden_dim)
        self.second = nn.Linear(hidden_dim, num_tokens * token_dim)

    def forward(self, vectors: Tensor) -> Tensor:
        return _split_into_tokens(self.second(torch.tanh(self.first(vectors))), self.token_dim)


class TransformerMapper(Mapper):
    """A transformer over a few tokens of the vector and learned constants; its output at the constants is used.

    ClipCap (arXiv 2111.09734, section 3.2, and its code) and CapDec (arXiv 2211.00575): 8 layers of 8 heads, a
    feed-forward width of twice the model's, 10 tokens of either kind (CapDec: 40). For vectors of width 640 and
    GPT-2 about 43 million parameters.
    """

    def __init__(
        self, vector_dim: int, token_dim: int, num_tokens: int, num_vector_tokens: int, num_layers: int, num_heads: int
    ) -> None:
        """Set the layers up: `num_tokens` tokens come out; `num_vector_tokens` per vector go in before the constants.

        Raises:
            UserError: if the number of heads does not divide `token_dim`.
        """
        super().__init__()
        if token_dim % num_heads:
            raise UserError(
                f"mapper.num_heads={num_heads} does not divide the language model's width {token_dim}. Choose a divisor"
            )
        self.token_dim = token_dim
        self.tokens_per_vector, self.more_tokens = 0, num_tokens
        self.linear = _Input(vector_dim, num_vector_tokens * token_dim)
        self.constants = nn.Parameter(torch.randn(num_tokens, token_dim))
        layer = nn.TransformerEncoderLayer(
            token_dim, num_heads, 2 * token_dim, dropout=0.0, activation="relu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, vectors: Tensor) -> Tensor:
        tokens = _split_into_tokens(self.linear(vectors), self.token_dim)
        inputs = torch.cat([tokens, self.constants.expand(len(tokens), -1, -1)], dim=1)
        return self.transformer(inputs)[:, tokens.shape[1] :]


class IdentityMapper(Mapper):
    """No mapping: the encoder's vectors are the tokens, at their own length, because the decoder was trained on them."""

    reads_raw_vectors = True
    tokens_per_vector = 1

    def __init__(self, vector_dim: int, token_dim: int, num_tokens: int) -> None:
        """Check the widths.

        Raises:
            UserError: if the vectors are not as wide as the tokens, or more than one token per vector is asked for.
        """
        super().__init__()
        if vector_dim != token_dim or num_tokens != 1:
            raise UserError(
                f"mapper=identity: {num_tokens} tokens of width {token_dim} cannot be made from a vector of width "
                f"{vector_dim}. Give mapper=linear"
            )

    def forward(self, vectors: Tensor) -> Tensor:
        return _split_into_tokens(vectors, vectors.shape[-1])


def _split_into_tokens(outputs: Float[Tensor, "b *k n"], token_dim: int) -> Float[Tensor, "b t h"]:
    return outputs.flatten(1).unflatten(-1, (-1, token_dim))


MAPPERS: dict[str, type[Mapper]] = {
    "linear": LinearMapper,
    "mlp": MlpMapper,
    "transformer": TransformerMapper,
    "identity": IdentityMapper,
}


def build_mapper(config: Mapping[str, Any], vector_dim: int, token_dim: int) -> Mapper:
    """Build the mapper of a run's settings.

    Raises:
        UserError: if the mapper cannot be built for this width; its class says when.
    """
    settings = {key: value for key, value in config.items() if key != "name"}
    return MAPPERS[config["name"]](vector_dim, token_dim, **settings)
