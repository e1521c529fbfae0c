"""Targets of a batch that are computed in blocks of similar length."""

from itertools import combinations

import numpy as np
import pytest
import torch

from close_transfer.data.examples import Example
from close_transfer.encoders.embedding_cache import EmbeddingMatrix
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.models.adapters import NoiseSource
from close_transfer.training import length_blocks
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.length_blocks import split_by_length
from close_transfer.training.transfer_objective import sum_part_loss
from tests.families import tiny_family
from tests.models.test_language_models import DIM, built

TEXTS = [["a red cat", "a dog under a blue tree in the park", "yes"], ["two birds", "no", "a boat on a lake at night"]]
EXAMPLES = [Example(str(row), ("",), prompt="what", targets=tuple(texts)) for row, texts in enumerate(TEXTS)]


def tokenize(examples, lm):
    vectors = np.random.default_rng(0).standard_normal((len(examples), DIM), dtype=np.float32)
    number = np.arange(len(examples) + 1)
    scenes = SceneVectors(EmbeddingMatrix([vectors]), number[:-1], number)
    return TokenizedExamples(examples, scenes, lm.format, 32, 24, lowercase_targets=False)


def measure_time(lengths, ends):
    """Return the time of blocks with these ends, in tokens."""
    starts = [0, *ends[:-1]]
    return sum((end - start) * lengths[end - 1] + 64 for start, end in zip(starts, ends, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_blocks_take_the_least_time_of_all_divisions(seed):
    lengths = np.sort(np.random.default_rng(seed).integers(1, 60, size=9))
    blocks = split_by_length(lengths) or ((0, 9, lengths[-1]),)
    assert [start for start, _, _ in blocks] == [0, *(end for _, end, _ in blocks[:-1])] and blocks[-1][1] == 9
    assert all(lengths[end - 1] == length for _, end, length in blocks)
    divisions = [[*cut, 9] for number in range(9) for cut in combinations(range(1, 9), number)]
    least = min(measure_time(lengths, ends) for ends in divisions)
    assert measure_time(lengths, [end for _, end, _ in blocks]) == least


def test_similar_lengths_are_one_block():
    assert split_by_length(np.array([5, 5, 6, 6])) == ()
    assert split_by_length(np.array([4] * 100 + [20])) == ((0, 100, 4), (100, 101, 20))


@pytest.mark.parametrize("family", ["t5", "gpt2"])
def test_blocks_change_neither_loss_nor_gradient(family, tmp_path, monkeypatch):
    model, lm = built(tiny_family(family, tmp_path / "lm", [text for texts in TEXTS for text in texts]))
    examples = tokenize(EXAMPLES, lm)

    def compute():
        (part,) = examples.make_parts(np.array([1, 0]), 1)
        inputs = part.make_inputs("text", None) | {"noise": NoiseSource(torch.Generator().manual_seed(0), 0, 2)}
        loss = sum_part_loss(model(**inputs), part)
        model.zero_grad()
        loss.backward()
        return part, loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole, plain_loss, plain_gradient = compute()
    monkeypatch.setattr(length_blocks, "_TOKENS_PER_BLOCK", 1)
    part, loss, gradient = compute()
    assert whole.blocks == () and len(part.blocks) > 2
    torch.testing.assert_close(loss, plain_loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-4, atol=1e-5)
    assert sorted(part.labels.sum(dim=1).tolist()) == sorted(whole.labels.sum(dim=1).tolist())


def test_single_targets_and_batches_of_few_shapes_have_no_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(length_blocks, "_TOKENS_PER_BLOCK", 1)
    _, lm = built(tiny_family("t5", tmp_path / "lm", [text for texts in TEXTS for text in texts]))

    def make_part(examples, **settings):
        return tokenize(examples, lm).make_parts(np.array([0, 1]), 1, **settings)[0]

    assert make_part(EXAMPLES).blocks
    assert make_part(EXAMPLES, multiple=8).blocks == ()
    singles = [Example(str(row), ("",), targets=(text,)) for row, text in enumerate(TEXTS[0])]
    assert make_part(singles).blocks == ()
