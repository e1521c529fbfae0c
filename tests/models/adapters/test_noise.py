import math

import pytest
import torch

from close_transfer.config.adapters import AdapterConfig
from close_transfer.models.adapters import ADAPTERS, AdapterChain, AdapterContext, Noise, NoiseSource
from close_transfer.models.noise_scale import NoiseScale
from tests.settings import read_settings


def source(start=0, num_examples=64, seed=3):
    return NoiseSource(torch.Generator().manual_seed(seed), start, num_examples)


@pytest.fixture
def vectors():
    return 5 * torch.randn(64, 256, generator=torch.Generator().manual_seed(0))


NOISES = ["gaussian", "uniform_ball", "random_magnitude", "cosine_bounded"]


def chain(name, std=0.1, dim=256, **settings):
    return AdapterChain([{"name": name, **settings}], AdapterContext(dim, std))


def step(name, std=0.1, dim=256):
    """The adapter alone, without the unit length before and after."""
    return ADAPTERS[name](AdapterContext(dim, std))


def unit(vectors):
    return torch.nn.functional.normalize(vectors, dim=-1)


def test_units_agree_with_each_other():
    scale = NoiseScale(0.08, 768)
    assert scale.variance == pytest.approx(0.0064)
    assert scale.length == pytest.approx(0.08 * math.sqrt(768))
    assert scale.cosine == pytest.approx(1 / math.sqrt(1 + scale.length**2))
    assert NoiseScale.from_cosine(scale.cosine, 768).std == pytest.approx(0.08)
    assert NoiseScale.from_cosine(1.0, 768).std == 0
    assert "0.08 per coordinate" in str(scale)
    assert str(NoiseScale(0.0, 768)) == "none"


@pytest.mark.parametrize("name", ["gaussian", "uniform_ball", "random_magnitude"])
def test_standard_deviation_per_coordinate_is_the_promised_one(name):
    """Over many draws for one vector: mean 0, and the root mean variance of a coordinate is std."""
    vectors = unit(torch.randn(1, 32, generator=torch.Generator().manual_seed(1))).expand(20_000, 32)
    added = step(name, 0.1, 32).train()(vectors, "text", source(num_examples=20_000)) - vectors
    assert float(added.mean()) == pytest.approx(0, abs=0.001)
    assert float(added.square().mean().sqrt()) == pytest.approx(0.1, rel=0.02)


def test_a_uniform_ball_has_an_end_and_random_magnitudes_differ(vectors):
    vectors = unit(vectors)
    lengths = (step("uniform_ball").train()(vectors, "text", source()) - vectors).norm(dim=-1)
    assert float(lengths.max()) <= 0.1 * math.sqrt(258) + 1e-4
    spread = {name: (step(name).train()(vectors, "text", source()) - vectors).norm(dim=-1).std() for name in NOISES[:3]}
    assert spread["random_magnitude"] > 5 * spread["gaussian"]


def test_bounded_cosines_are_uniform_between_their_bounds():
    vectors = unit(torch.randn(5000, 64, generator=torch.Generator().manual_seed(1)))
    turned = step("cosine_bounded", 0.1, 64).train()(vectors, "text", source(num_examples=5000))
    cosines = torch.cosine_similarity(turned, vectors)
    expected = NoiseScale(0.1, 64).cosine
    assert float(cosines.mean()) == pytest.approx(expected, abs=0.01)
    assert float(cosines.min()) == pytest.approx(2 * expected - 1, abs=0.01)
    assert float(cosines.max()) == pytest.approx(1, abs=0.01)
    assert float(cosines.std()) == pytest.approx(2 * (1 - expected) / math.sqrt(12), rel=0.05)


def test_expected_length_and_cosine_are_those_of_real_noise(vectors):
    noised = chain("gaussian").train()(vectors, "text", source())
    cosine = torch.cosine_similarity(noised, vectors).mean()
    assert float(cosine) == pytest.approx(NoiseScale(0.1, 256).cosine, abs=0.02)


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_for_training_only_and_leaves_unit_vectors(vectors, name):
    adapter = chain(name)
    torch.testing.assert_close(adapter.eval()(vectors, "text", source()), unit(vectors))
    torch.testing.assert_close(adapter.train()(vectors, "text", None), unit(vectors))
    noised = adapter.train()(vectors, "text", source())
    assert not torch.allclose(noised, unit(vectors), atol=0.01)
    torch.testing.assert_close(noised.norm(dim=-1), torch.ones(64))
    torch.testing.assert_close(chain(name, std=0.0).train()(vectors, "text", source()), unit(vectors))


@pytest.mark.parametrize("name", NOISES)
def test_a_part_of_the_batch_gets_the_rows_it_would_get_in_the_whole(vectors, name):
    adapter = chain(name).train()
    whole = adapter(vectors, "text", source())
    parts = [adapter(vectors[i : i + 16], "text", source(start=i)) for i in range(0, 64, 16)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)


@pytest.mark.parametrize("name", NOISES)
def test_several_vectors_an_example_are_noised_one_by_one(name):
    grid = torch.randn(4, 9, 32)
    noised = chain(name, dim=32).train()(grid, "text", source(num_examples=4))
    assert noised.shape == grid.shape
    torch.testing.assert_close(noised.norm(dim=-1), torch.ones(4, 9))
    assert len(torch.unique((noised - unit(grid)).norm(dim=-1))) == 36


def test_blind_adapter_sees_nothing_in_training_and_test(vectors):
    assert not chain("blind").train()(vectors, "text", source()).any()
    assert not chain("blind").eval()(vectors, "image").any()


def test_every_noise_adapter_is_known_to_the_settings():
    config = AdapterConfig.model_validate(
        {k: v for name in ADAPTERS for k, v in read_settings(f"adapter/{name}.yaml").items()}
    )
    assert [name for name, adapter in ADAPTERS.items() if issubclass(adapter, Noise)] == list(config.noise_names)
