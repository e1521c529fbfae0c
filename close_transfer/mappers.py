"""From a vector to tokens of the language model.

Shapes: b examples, d width of the vectors, t tokens, h width of the language model.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Weights start at a tenth of PyTorch's default. Pictures are displaced from texts along directions in
# which texts hardly vary; training on texts leaves the weights along those as they began, and at full
# size they throw the tokens of every picture off.
_INITIAL_SCALE = 0.1


class LinearMapper(nn.Module):
    """One linear layer from a vector to a few tokens, and learned constant tokens after them.

    CLOSE (arXiv 2211.09778, section 3): 4 tokens and no constants. Constants start at zero. Vectors are
    multiplied by the square root of their width first, so that unit vectors enter with coordinates of
    size one, as a language model that is trained from scratch prefers.
    """

    def __init__(self, vector_dim: int, token_dim: int, num_tokens: int, num_constant_tokens: int) -> None:
        """`vector_dim`: width d; `token_dim`: width h; at least one token, constants may be none."""
        super().__init__()
        self.token_dim = token_dim
        self.linear = nn.Linear(vector_dim, num_tokens * token_dim)
        with torch.no_grad():
            self.linear.weight.mul_(_INITIAL_SCALE)
        self.constants = nn.Parameter(torch.zeros(num_constant_tokens, token_dim))

    def forward(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b t h"]:
        """`num_tokens + num_constant_tokens` tokens for each vector."""
        tokens = self.linear(vectors * vectors.shape[-1] ** 0.5).unflatten(-1, (-1, self.token_dim))
        return torch.cat([tokens, self.constants.expand(len(tokens), -1, -1)], dim=1)


MAPPERS: dict[str, Callable[[int, int, int, int], nn.Module]] = {"linear": LinearMapper}
