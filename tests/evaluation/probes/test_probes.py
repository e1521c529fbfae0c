"""The probes against independent solutions, and on data whose answer is known."""

import numpy as np
import pytest
import torch

from close_transfer.config.probe_encoder import AttentionPoolConfig
from close_transfer.core.errors import UserError
from close_transfer.encoders.embedding_cache import EmbeddingMatrix
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.evaluation.probes.attention_pool import AttentionPool, predict_attention_pool
from close_transfer.evaluation.probes.few_shot import draw_shots, fit_ridge, predict_few_shot
from close_transfer.evaluation.probes.linear import fit_logistic, predict_linear
from close_transfer.evaluation.probes.zero_shot import (
    average_class_vectors,
    predict_zero_shot,
    sum_class_likelihoods,
    write_class_texts,
)


def make_clusters(num_images, dim, num_classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_images) % num_classes
    centres = np.random.default_rng(99).standard_normal((num_classes, dim))
    vectors = centres[labels] + 0.5 * rng.standard_normal((num_images, dim))
    return vectors.astype(np.float32), labels


@pytest.mark.parametrize("num_images", [12, 90])  # fewer and more images than dimensions
def test_ridge_is_the_least_squares_solution_and_scikit_learns(num_images):
    vectors, labels = make_clusters(num_images, 20, 4)
    probe = fit_ridge(vectors, labels, 4, 1024.0)
    double = vectors.astype(np.float64)
    features = np.hstack([(double - double.mean(0)) / (double.std(0) + 1e-5), np.full((num_images, 1), 100.0)])
    targets = np.where(labels[:, None] == np.arange(4), 1.0, -1.0)
    # Independent: the ridge as least squares over rows that pull each weight to 0.
    rows = np.vstack([features, np.sqrt(1024.0) * np.eye(21)])
    expected = np.linalg.lstsq(rows, np.vstack([targets, np.zeros((21, 4))]), rcond=None)[0]
    np.testing.assert_allclose(probe.weights, expected, atol=1e-10)
    linear_model = pytest.importorskip("sklearn.linear_model")
    ridge = linear_model.Ridge(alpha=1024.0, fit_intercept=False).fit(features, targets)
    np.testing.assert_allclose(probe.weights.T, ridge.coef_, atol=1e-10)
    assert (probe.predict(vectors) == ridge.predict(features).argmax(axis=1)).all()


def test_shots_are_drawn_by_seed_and_more_shots_contain_fewer():
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 2])
    few, more = draw_shots(labels, 1, 3), draw_shots(labels, 3, 3)
    assert sorted(labels[few]) == [0, 1, 2]
    assert sorted(labels[more]) == [0, 0, 0, 1, 1, 1, 2]  # the last class has one image
    assert set(few) <= set(more)
    assert any(not np.array_equal(few, draw_shots(labels, 1, seed)) for seed in range(4))


def test_more_shots_are_better_and_each_seed_has_its_probe():
    training, labels = make_clusters(200, 8, 4)
    testing, expected = make_clusters(100, 8, 4, seed=1)
    one, ten = (predict_few_shot(training, labels, testing, 4, shots, (0, 1, 2), 1024.0) for shots in (1, 10))
    assert one.shape == ten.shape == (3, 100)
    assert not np.array_equal(one[0], one[1])
    assert (ten == expected).mean() > max(0.8, (one == expected).mean())


def test_logistic_regression_has_no_gradient_left():
    vectors, labels = make_clusters(60, 5, 3)
    features, targets = torch.from_numpy(vectors.astype(np.float64)), torch.from_numpy(labels)
    weights, bias = fit_logistic(features, targets, 3, 0.01)
    probabilities = (features @ weights + bias).softmax(dim=1)
    error = (probabilities - torch.eye(3)[targets]) / len(labels)
    assert (features.T @ error + 0.01 * weights).abs().max() < 1e-6
    assert error.sum(dim=0).abs().max() < 1e-6


def test_the_linear_probe_chooses_a_strength_and_classifies():
    training, labels = make_clusters(200, 8, 4)
    testing, expected = make_clusters(100, 8, 4, seed=1)
    prediction = predict_linear(training, labels, testing, 4, (1e-3, 1e3), 0, "cpu")
    assert prediction.l2 == 1e-3
    assert (prediction.classes == expected).mean() > 0.9


def make_scenes(grid):
    return SceneVectors(EmbeddingMatrix([grid]), np.arange(len(grid)), np.arange(len(grid) + 1))


def test_attention_pool_finds_the_cell_that_a_mean_hides():
    # One of five cells has a mark; its class is in that cell, and the other cells show random classes.
    rng = np.random.default_rng(0)

    def draw(num_images):
        shown = rng.integers(2, size=(num_images, 5))
        marked = rng.integers(5, size=num_images)
        grid = np.zeros((num_images, 5, 4), dtype=np.float32)
        grid[np.arange(num_images)[:, None], np.arange(5), shown] = 1
        grid[np.arange(num_images), marked, 2] = 1
        return make_scenes(grid), shown[np.arange(num_images), marked]

    (training, labels), (testing, expected) = draw(400), draw(200)
    config = AttentionPoolConfig(num_heads=8, steps=100, batch_size=64, learning_rate=1e-2, weight_decay=0.0)
    assert (predict_attention_pool(training, labels, testing, 2, config, 0, "cpu") == expected).mean() > 0.95
    short = config.model_copy(update={"steps": 3})
    first, second = (predict_attention_pool(training, labels, testing, 2, short, 0, "cpu") for _ in range(2))
    assert (first == second).all()


def test_attention_pool_has_the_published_parts():
    probe = AttentionPool(64, 8, 10)
    count = sum(parameter.numel() for parameter in probe.parameters())
    attention, mlp = 4 * 64 * 64 + 4 * 64, 2 * 4 * 64 * 64 + 4 * 64 + 64
    assert count == 64 + attention + 2 * 64 + mlp + 10 * 64 + 10
    assert AttentionPool(20, 8, 2).attention.num_heads == 4


def test_zero_shot_averages_unit_vectors_of_texts():
    texts = write_class_texts(["red_fox", "owl"], ["a {}.", "{}"], {"owl": ("an owl.",)})
    assert texts == [["a red fox.", "red fox"], ["an owl."]]
    vectors = average_class_vectors([np.array([[9.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 5.0]])])
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5], [0.0, 1.0]])
    assert predict_zero_shot(np.array([[2.0, 1.0], [0.1, 30.0]]), vectors).tolist() == [0, 1]


def test_a_class_is_as_likely_as_any_of_its_texts():
    likelihoods = np.array([[0.2, 0.1, 0.25], [1e-300, 0.0, 1e-299]])
    with np.errstate(divide="ignore"):
        logs = np.log(likelihoods)
    classes = sum_class_likelihoods(logs, [2, 1])
    expected = [[0.2 + 0.1, 0.25], [1e-300, 1e-299]]
    np.testing.assert_allclose(classes, np.log(expected), rtol=1e-12)
    assert classes.argmax(axis=1).tolist() == [0, 1]
    # Sums of hundreds of nats do not vanish, and a repeated text does not count twice.
    assert sum_class_likelihoods(np.float32([[-900.0, -901.0]]), [1, 1]).argmax() == 0
    assert write_class_texts(["owl", "ant"], ["{}", "{}"], {"ant": ("An ant.", "An ant.")}) == [["owl"], ["An ant."]]


def test_a_ridge_that_is_too_weak_is_refused():
    with pytest.raises(UserError, match=r"few_shot\.l2=1e-300: is too small .*\. Give a larger number"):
        fit_ridge(np.ones((2, 4), dtype=np.float32), np.array([0, 1]), 2, 1e-300)


def test_an_attention_pool_that_overflows_is_refused():
    grid = np.full((4, 2, 4), 3e38, dtype=np.float32)
    config = AttentionPoolConfig(num_heads=1, steps=1, batch_size=4, learning_rate=1e-2, weight_decay=0.0)
    with pytest.raises(
        UserError, match=r"attention_pool\.learning_rate=0\.01: the probe's logits are NaN or infinite\. Give"
    ):
        predict_attention_pool(make_scenes(grid), np.array([0, 1, 0, 1]), make_scenes(grid), 2, config, 0, "cpu")
