"""Projection of image vectors on a memory of texts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.leakage import References
from close_transfer.data.sources import load_examples
from close_transfer.models.text_memory import ExactMemory, NearestMemory
from close_transfer.pipelines.evaluate import evaluate
from tests.conftest import small_config


def unit(count, dim=16, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [3, 7, 100])
def test_exact_projection_is_the_formula_whatever_the_blocks(block):
    texts, queries = unit(40), unit(5, seed=1)
    logits = queries @ texts.T / 0.05
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    golden = weights @ texts / weights.sum(axis=1, keepdims=True)
    golden /= np.linalg.norm(golden, axis=1, keepdims=True)
    projected = ExactMemory(texts, 0.05, block)(torch.from_numpy(queries).float())
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


@pytest.mark.parametrize("count", [1, 2, 10, 20])
def test_a_few_texts_can_be_searched_as_well(count):
    texts, queries = unit(count), torch.from_numpy(unit(5, seed=1)).float()
    cosines = (ExactMemory(texts, 0.1)(queries) * NearestMemory(texts, 0.1)(queries)).sum(dim=1)
    assert float(cosines.min()) > 0.999


def run(runs, *overrides):
    settings = [f"runs={runs}", "num_bootstrap=20", "device=cpu", "output=out", *overrides]
    evaluate(compose_config("evaluate", EvaluateConfig, settings))
    results = json.loads(Path("out/results.json").read_text())
    return results, Path("out/predictions.jsonl").read_text()


@pytest.mark.parametrize("search", ["exact", "nearest"])
def test_an_evaluation_on_a_memory_says_so_and_answers_otherwise(finished_runs, search):
    plain, answers = run(finished_runs)
    on_memory, others = run(finished_runs, "text_memory=train", f"text_memory_search={search}", "text_memory_size=50")
    assert plain["text_memory"] == {}
    told = on_memory["text_memory"]
    assert (told["text_memory"], told["num_texts"], told["temperature"], told["search"]) == ("train", 50, 0.01, search)
    assert on_memory["data_regime"] == plain["data_regime"] == "T0"
    assert answers != others


def test_what_training_left_out_is_not_in_the_memory_either(train_small):
    examples = load_examples(small_config().data, CAPTIONS, "train").examples
    unwanted = [text for example in examples[:30] for text in example.texts]
    Path("unwanted.txt").write_text("\n".join(unwanted))
    train_small("exclude_overlap_with=unwanted.txt", "output=run")
    texts, references = {text for example in examples for text in example.texts}, References(unwanted)
    left = [text for text in texts if references.find_leak(text) is None]
    results, _ = run("runs", "run=run", "text_memory=train")
    assert 0 < results["text_memory"]["num_texts"] == len(left) < len(texts)


def test_vectors_of_another_width_are_refused(finished_runs):
    np.save("texts.npy", unit(30).astype(np.float32))
    with pytest.raises(UserError, match=r"text_memory=texts\.npy holds vectors of shape \(16,\).*\(128,\)"):
        run(finished_runs, "text_memory=texts.npy")


def test_a_size_without_a_memory_is_told(finished_runs):
    with pytest.raises(UserError, match=r"text_memory_size=5 only applies with text_memory\. Give text_memory=train"):
        run(finished_runs, "text_memory_size=5")
