import math

import pytest
import torch

from close_transfer.adapters import BlindAdapter, GaussianAdapter, NoiseSource
from close_transfer.mappers import LinearMapper
from close_transfer.noise import NoiseScale


def source(start=0, num_examples=64, seed=3):
    return NoiseSource(torch.Generator().manual_seed(seed), start, num_examples)


@pytest.fixture
def vectors():
    return 5 * torch.randn(64, 256, generator=torch.Generator().manual_seed(0))


def test_units_agree_with_each_other():
    scale = NoiseScale(0.08, 768)
    assert scale.variance == pytest.approx(0.0064)
    assert scale.length == pytest.approx(0.08 * math.sqrt(768))
    assert scale.cosine == pytest.approx(1 / math.sqrt(1 + scale.length**2))
    assert "0.08 per coordinate" in str(scale)
    assert str(NoiseScale(0.0, 768)) == "none"


def test_expected_length_and_cosine_are_those_of_real_noise(vectors):
    scale = NoiseScale(0.1, 256)
    adapter = GaussianAdapter(0.1).train()
    noised = adapter(vectors, source())
    cosine = torch.cosine_similarity(noised, vectors).mean()
    assert float(cosine) == pytest.approx(scale.cosine, abs=0.02)


def test_vectors_leave_at_unit_length(vectors):
    adapter = GaussianAdapter(0.1)
    for mode in (True, False):
        lengths = adapter.train(mode)(vectors, source()).norm(dim=-1)
        torch.testing.assert_close(lengths, torch.ones(64))


def test_noise_is_for_training_only(vectors):
    adapter = GaussianAdapter(0.1)
    clean = torch.nn.functional.normalize(vectors, dim=-1)
    torch.testing.assert_close(adapter.eval()(vectors, source()), clean)
    torch.testing.assert_close(adapter.train()(vectors, None), clean)
    assert not torch.allclose(adapter.train()(vectors, source()), clean, atol=0.01)


def test_noise_zero_changes_nothing(vectors):
    clean = torch.nn.functional.normalize(vectors, dim=-1)
    torch.testing.assert_close(GaussianAdapter(0.0).train()(vectors, source()), clean)


def test_a_part_of_the_batch_gets_the_rows_it_would_get_in_the_whole(vectors):
    adapter = GaussianAdapter(0.1).train()
    whole = adapter(vectors, source())
    parts = [adapter(vectors[i : i + 16], source(start=i)) for i in range(0, 64, 16)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)


def test_several_vectors_an_example_are_noised_one_by_one():
    grid = torch.randn(4, 9, 32)
    noised = GaussianAdapter(0.1).train()(grid, source(num_examples=4))
    assert noised.shape == grid.shape
    torch.testing.assert_close(noised.norm(dim=-1), torch.ones(4, 9))


def test_blind_adapter_sees_nothing_in_training_and_test(vectors):
    adapter = BlindAdapter(0.1)
    assert not adapter.train()(vectors, source()).any()
    assert not adapter.eval()(vectors).any()


def test_mapper_gives_four_tokens_and_constants_after_them():
    mapper = LinearMapper(vector_dim=16, token_dim=8, num_tokens=4, num_constant_tokens=2)
    with torch.no_grad():
        mapper.constants.fill_(7.0)
    tokens = mapper(torch.nn.functional.normalize(torch.randn(3, 16), dim=-1))
    assert tokens.shape == (3, 6, 8)
    assert (tokens[:, 4:] == 7).all()
    assert not torch.allclose(tokens[0, :4], tokens[1, :4])
