"""Adapters that are fitted: each does what it promises, on clouds whose moments are known."""

import math

import numpy as np
import pytest
import torch

from close_transfer.core.errors import UserError
from close_transfer.models.adapters import ADAPTERS, AdapterChain, AdapterContext, NoiseSource
from close_transfer.models.adapters.statistics import Statistics, measure_statistics

DIM, COUNT = 12, 4000


def cloud(seed, shift):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(COUNT, DIM)) @ rng.normal(size=(DIM, DIM)) * 0.2 + shift
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def texts():
    return cloud(0, 1.0)


@pytest.fixture(scope="module")
def images():
    return cloud(1, -0.6)


@pytest.fixture(scope="module")
def statistics(texts, images):
    return measure_statistics(texts, paired=images)


def adapted(name, vectors, input_modality, statistics, std=0.0, **settings):
    """Return the output of one adapter on unit vectors, before it is scaled to unit length."""
    noise = NoiseSource(torch.Generator().manual_seed(0), 0, len(vectors)) if std else None
    made = ADAPTERS[name](AdapterContext(DIM, std, statistics), **settings).train()
    return made(torch.from_numpy(vectors).float(), input_modality, noise).double().numpy()


def test_moments_are_numpys(texts, images, statistics):
    np.testing.assert_allclose(statistics.arrays["text_mean"], texts.mean(axis=0))
    np.testing.assert_allclose(statistics.arrays["image_covariance"], np.cov(images.T, bias=True), atol=1e-12)
    np.testing.assert_allclose(
        statistics.arrays["difference_covariance"], np.cov((images - texts).T, bias=True), atol=1e-12
    )


def test_mean_shift_puts_the_mean_text_on_the_mean_picture(texts, images, statistics):
    np.testing.assert_allclose(
        adapted("mean_shift", texts, "text", statistics).mean(axis=0), images.mean(axis=0), atol=1e-6
    )
    away = adapted("mean_shift", texts, "text", statistics, scale=-1.0).mean(axis=0)
    np.testing.assert_allclose(away, 2 * texts.mean(axis=0) - images.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(adapted("mean_shift", images, "image", statistics), images, atol=1e-6)


def test_random_shift_has_its_length_and_moves_texts_only(texts, images, statistics):
    moved = adapted("random_shift", texts, "text", statistics, length=0.8, seed=3) - texts
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-6)
    assert np.linalg.norm(moved[0]) == pytest.approx(0.8, abs=1e-5)
    other = adapted("random_shift", texts, "text", statistics, length=0.8, seed=4) - texts
    assert not np.allclose(moved[0], other[0], atol=0.05)
    np.testing.assert_allclose(adapted("random_shift", images, "image", statistics), images, atol=1e-6)


@pytest.mark.parametrize("input_modality", ["text", "image"])
def test_each_modality_loses_its_own_mean_and_scale(texts, images, statistics, input_modality):
    vectors = texts if input_modality == "text" else images
    np.testing.assert_allclose(adapted("remove_mean", vectors, input_modality, statistics).mean(axis=0), 0, atol=1e-6)
    standard = adapted("standardize", vectors, input_modality, statistics)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0), 1, rtol=1e-4)
    white = adapted("whiten", vectors, input_modality, statistics, shrinkage=0.0)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(DIM), atol=1e-3)
    shrunk = np.cov(adapted("whiten", vectors, input_modality, statistics, shrinkage=1.0).T)
    own = np.cov(vectors.T)
    np.testing.assert_allclose(shrunk / np.trace(shrunk), own / np.trace(own), atol=1e-4)


def test_mean_and_trace_become_the_pictures(texts, images, statistics):
    moved = adapted("mean_trace", texts, "text", statistics)
    np.testing.assert_allclose(moved.mean(axis=0), images.mean(axis=0), atol=1e-6)
    assert np.trace(np.cov(moved.T)) == pytest.approx(np.trace(np.cov(images.T)), rel=1e-4)


def test_truncation_keeps_the_leading_directions_of_texts(texts, images, statistics):
    for vectors, input_modality in ((texts, "text"), (images, "image")):
        kept = adapted("truncate", vectors, input_modality, statistics, directions=3)
        assert np.linalg.matrix_rank(kept - texts.mean(axis=0), tol=1e-3) == 3
    values = np.sort(np.linalg.eigvalsh(np.cov(texts.T)))[::-1]
    kept = adapted("truncate", texts, "text", statistics, directions=3)
    assert np.trace(np.cov(kept.T)) == pytest.approx(values[:3].sum(), rel=1e-4)
    whole = adapted("truncate", images, "image", statistics, directions=DIM)
    np.testing.assert_allclose(whole, images, atol=1e-5)


def test_low_rank_correction_matches_along_its_directions_and_is_bounded(texts, images, statistics):
    moved = adapted("low_rank", texts, "text", statistics, directions=4, bound=100.0)
    assert np.linalg.matrix_rank(moved - texts, tol=1e-3) == 4
    both = (np.cov(texts.T) + np.cov(images.T)) / 2
    directions = np.linalg.svd(both)[0][:, :4]
    for read in (np.mean, np.std):
        np.testing.assert_allclose(read(moved @ directions, axis=0), read(images @ directions, axis=0), atol=1e-4)
    bounded = np.linalg.norm(adapted("low_rank", texts, "text", statistics, directions=4, bound=0.2) - texts, axis=1)
    assert bounded.max() <= 0.2 + 1e-5
    assert (bounded > 0.199).mean() > 0.5


def test_regression_finds_a_linear_map_again(texts):
    rng = np.random.default_rng(5)
    weight, bias = rng.normal(size=(DIM, DIM)), rng.normal(size=DIM)
    fitted = measure_statistics(texts, paired=texts @ weight.T + bias, ridge=1e-9)
    np.testing.assert_allclose(adapted("linear", texts, "text", fitted), texts @ weight.T + bias, atol=1e-3)


def test_noise_in_the_shape_of_a_covariance(texts, images, statistics):
    still = np.broadcast_to(texts[0], (COUNT, DIM)).copy()
    added = adapted("covariance_noise", still, "text", statistics, std=0.05) - still
    expected = np.cov(texts.T) / np.trace(np.cov(texts.T)) * DIM * 0.05**2
    np.testing.assert_allclose(np.cov(added.T), expected, atol=0.1 * expected.max())
    assert math.sqrt(np.square(added).mean()) == pytest.approx(0.05, rel=0.05)
    added = adapted("covariance_noise", still, "text", statistics, std=0.05, shape="difference") - still
    difference = images - texts
    np.testing.assert_allclose(added.mean(axis=0), difference.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(np.cov(added.T), np.cov(difference.T), atol=0.1 * np.cov(difference.T).max())


def test_order_matters_and_every_step_sees_unit_vectors(texts, statistics):
    inputs = torch.from_numpy(5 * texts).float()
    orders = (["remove_mean", "random_shift"], ["random_shift", "remove_mean"])
    behind = {f"remove_mean/{name}": array for name, array in statistics.arrays.items()}  # of the second order
    statistics = Statistics(statistics.arrays | behind)
    one, other = (
        AdapterChain([{"name": name} for name in order], AdapterContext(DIM, 0.0, statistics))(inputs, "text")
        for order in orders
    )
    assert not torch.allclose(one, other, atol=0.01)
    for made in (one, other):
        torch.testing.assert_close(made.norm(dim=-1), torch.ones(COUNT))


@pytest.mark.parametrize(("name", "settings", "data_regime"), [
    ("gaussian", {}, "T0"), ("truncate", {"directions": 5}, "T0"), ("covariance_noise", {"shape": "text"}, "T0"),
    ("random_shift", {}, "T0"), ("remove_mean", {}, "T1"), ("mean_shift", {}, "T1"), ("standardize", {}, "T1"),
    ("mean_trace", {}, "T1"), ("whiten", {}, "T1"), ("low_rank", {"directions": 5}, "T1"), ("linear", {}, "T4"),
    ("covariance_noise", {"shape": "difference"}, "T4"),
])  # fmt: skip
def test_regime_is_that_of_the_data_it_needed(statistics, name, settings, data_regime):
    steps = [{"name": name, **settings}, {"name": "blind"}]
    assert AdapterChain(steps, AdapterContext(DIM, 0.1, statistics)).data_regime == data_regime


@pytest.mark.parametrize(("name", "lacking", "how"), [
    ("remove_mean", "image_mean", "images=true"), ("linear", "linear_weight", "pairs=true"),
    ("whiten", "image_covariance", "images=true"),
])  # fmt: skip
def test_what_is_missing_is_named_with_what_measures_it(texts, name, lacking, how):
    with pytest.raises(UserError, match=rf"needs {lacking}.*{how}.*compute_statistics"):
        ADAPTERS[name](AdapterContext(DIM, 0.0, measure_statistics(texts)))


def test_statistics_survive_saving_and_damage_is_told(statistics, tmp_path):
    statistics.save(tmp_path)
    loaded = Statistics.load(tmp_path, DIM)
    assert loaded.data_regime == "T4"
    for name, array in statistics.arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
    with pytest.raises(UserError, match=r"12,.*instead of \(13, 13\), because the encoder's vectors have width 13"):
        Statistics.load(tmp_path, 13)
    content = bytearray((tmp_path / "statistics.safetensors").read_bytes())
    content[-9] ^= 1
    (tmp_path / "statistics.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is not the file that"):
        Statistics.load(tmp_path, DIM)
    with pytest.raises(UserError, match=r"there is no statistics\.json. Make it"):
        Statistics.load(tmp_path / "nowhere", DIM)
