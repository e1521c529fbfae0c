import torch

from close_transfer.mappers import LinearMapper


def test_mapper_gives_four_tokens_and_constants_after_them():
    mapper = LinearMapper(vector_dim=16, token_dim=8, num_tokens=4, num_constant_tokens=2)
    with torch.no_grad():
        mapper.constants.fill_(7.0)
    tokens = mapper(torch.nn.functional.normalize(torch.randn(3, 16), dim=-1))
    assert tokens.shape == (3, 6, 8)
    assert (tokens[:, 4:] == 7).all()
    assert not torch.allclose(tokens[0, :4], tokens[1, :4])
