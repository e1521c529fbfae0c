import pytest
import torch
from torch.nn import functional as F

from close_transfer.core.errors import UserError
from close_transfer.models.mappers import LinearMapper, build_mapper

CLIPCAP = {"name": "transformer", "num_tokens": 10, "num_vector_tokens": 10, "num_layers": 8, "num_heads": 8}


def num_parameters(mapper):
    return sum(one.numel() for one in mapper.parameters())


def test_mapper_gives_four_tokens_and_constants_after_them():
    mapper = LinearMapper(vector_dim=16, token_dim=8, num_tokens=4, num_constant_tokens=2)
    with torch.no_grad():
        mapper.constants.fill_(7.0)
    tokens = mapper(F.normalize(torch.randn(3, 16), dim=-1))
    assert tokens.shape == (3, 6, 8)
    assert (tokens[:, 4:] == 7).all()
    assert not torch.allclose(tokens[0, :4], tokens[1, :4])


@pytest.mark.parametrize(
    ("settings", "vector_dim", "token_dim", "published"),
    [
        # CLOSE: 768 to 4 x 768 with a bias.
        ({"name": "linear", "num_tokens": 4, "num_constant_tokens": 0}, 768, 768, 768 * 3072 + 3072),
        # ClipCap, RN50x4 and GPT-2: 32 million, and 43 million with the transformer.
        ({"name": "mlp", "num_tokens": 10, "hidden_dim": None}, 640, 768, 32_000_000),
        (CLIPCAP, 640, 768, 43_000_000),
        # LiMBeR to GPT-J: 12.6, 4.2 and 8.4 million.
        ({"name": "linear", "num_tokens": 1, "num_constant_tokens": 0}, 3072, 4096, 12_600_000),
        ({"name": "linear", "num_tokens": 1, "num_constant_tokens": 0}, 1024, 4096, 4_200_000),
        ({"name": "linear", "num_tokens": 1, "num_constant_tokens": 0}, 2048, 4096, 8_400_000),
    ],
)
def test_mappers_are_as_large_as_published(settings, vector_dim, token_dim, published):
    with torch.device("meta"):
        mapper = build_mapper(settings, vector_dim, token_dim)
    assert num_parameters(mapper) == pytest.approx(published, rel=0.01 if published % 100_000 == 0 else 0)


@pytest.mark.parametrize(
    ("settings", "tokens_of_one", "tokens_of_grid"),
    [
        ({"name": "linear", "num_tokens": 2, "num_constant_tokens": 1}, 3, 2 * 9 + 1),
        ({"name": "mlp", "num_tokens": 3, "hidden_dim": 5}, 3, 27),
        ({**CLIPCAP, "num_tokens": 4, "num_layers": 2, "num_heads": 2}, 4, 4),
    ],
)
def test_a_grid_becomes_tokens_of_each_of_its_vectors(settings, tokens_of_one, tokens_of_grid):
    mapper = build_mapper(settings, 16, 8)
    grid = F.normalize(torch.randn(2, 9, 16), dim=-1)
    assert mapper(grid[:, 0]).shape == (2, tokens_of_one, 8)
    tokens = mapper(grid)
    assert tokens.shape == (2, tokens_of_grid, 8)
    assert not torch.allclose(tokens[0], tokens[1])
    changed = grid.clone()
    changed[0, 8] = -changed[0, 8]
    assert not torch.allclose(mapper(changed)[0], tokens[0])  # the last vector counts
    torch.testing.assert_close(mapper(changed)[1], tokens[1])


def test_tokens_of_a_grid_stand_in_its_order():
    mapper = build_mapper({"name": "linear", "num_tokens": 2, "num_constant_tokens": 0}, 16, 8)
    grid = F.normalize(torch.randn(1, 3, 16), dim=-1)
    alone = torch.cat([mapper(grid[:, number]) for number in range(3)], dim=1)
    torch.testing.assert_close(mapper(grid), alone)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match=r"mapper\.num_heads=3 does not divide .* width 8"):
        build_mapper({**CLIPCAP, "num_heads": 3}, 16, 8)
