"""Projection of picture vectors on a memory of texts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from close_transfer import memory
from close_transfer.cli import compose_config
from close_transfer.config import EvalConfig
from close_transfer.errors import UserError
from close_transfer.evaluation import evaluate
from close_transfer.projection import ExactMemory, NearestMemory


def unit(count, dim=16, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [3, 7, 100])
def test_exact_projection_is_the_formula_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(memory, "_BLOCK", block)
    texts, queries = unit(40), unit(5, seed=1)
    logits = queries @ texts.T / 0.05
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    golden = weights @ texts / weights.sum(axis=1, keepdims=True)
    golden /= np.linalg.norm(golden, axis=1, keepdims=True)
    projected = ExactMemory(texts, 0.05)(torch.from_numpy(queries).float())
    np.testing.assert_allclose(projected.numpy(), golden, atol=1e-5)


def test_low_temperatures_give_the_nearest_text_and_high_ones_the_mean():
    texts, queries = unit(40), unit(5, seed=1)
    nearest = texts[(queries @ texts.T).argmax(axis=1)]
    cold = ExactMemory(texts, 1e-4)(torch.from_numpy(queries).float()).numpy()
    np.testing.assert_allclose(cold, nearest, atol=1e-4)
    hot = ExactMemory(texts, 1e4)(torch.from_numpy(queries).float()).numpy()
    np.testing.assert_allclose(
        hot, np.broadcast_to(texts.mean(axis=0) / np.linalg.norm(texts.mean(axis=0)), hot.shape), atol=1e-3
    )


def test_the_nearest_are_nearly_all_there_is():
    texts, queries = unit(5000, dim=32), torch.from_numpy(unit(20, dim=32, seed=1)).float()
    exact = ExactMemory(texts, 0.02)(queries)
    found = NearestMemory(texts, 0.02, num_probes=10_000)(queries)
    assert float((exact * found).sum(dim=1).min()) > 0.999


def run(runs, *overrides):
    settings = [f"runs={runs}", "num_bootstrap=20", "device=cpu", "output=out", *overrides]
    evaluate(compose_config("eval", EvalConfig, settings))
    results = json.loads(Path("out/results.json").read_text())
    return results, Path("out/predictions.jsonl").read_text()


@pytest.mark.parametrize("search", ["exact", "nearest"])
def test_an_evaluation_on_a_memory_says_so_and_answers_otherwise(finished_runs, search):
    plain, answers = run(finished_runs)
    on_memory, others = run(finished_runs, "memory=train", f"memory_search={search}", "memory_size=50")
    assert plain["memory"] == {}
    told = on_memory["memory"]
    assert (told["memory"], told["num_texts"], told["temperature"], told["search"]) == ("train", 50, 0.01, search)
    assert on_memory["regime"] == plain["regime"] == "T0"
    assert answers != others


def test_vectors_of_another_width_are_refused(finished_runs):
    np.save("texts.npy", unit(30).astype(np.float32))
    with pytest.raises(UserError, match=r"memory=texts\.npy: .*\(16,\).*width 128"):
        run(finished_runs, "memory=texts.npy")


def test_a_size_without_a_memory_is_told(finished_runs):
    with pytest.raises(UserError, match=r"memory_size=5, but there is no memory; give memory=train"):
        run(finished_runs, "memory_size=5")
