"""Batches, masks and loss of the contrastive objective."""

import numpy as np
import open_clip
import pytest
import torch
from accelerate import Accelerator

from close_transfer.config.components import LoopConfig
from close_transfer.models.two_towers import TwoTowers, TwoTowersConfig, describe_text_tower
from close_transfer.training.contrastive_objective import ContrastiveObjective, TextImagePairs
from close_transfer.training.ragged import Ragged
from tests.settings import read_settings

TEXT = describe_text_tower(width=8, depth=1, heads=2, context_length=6, vocab_size=20, pad_id=0, end_id=1)
TEXTS = [[5, 6, 1], [7, 1], [8, 9, 10, 11, 1], [7, 1]]
NOISE = torch.Generator()


def make_objective(mask=True, texts=TEXTS, images=(0, 0, 1, 2), **changed):
    loop = read_settings("train_text_tower.yaml")["train"]
    sizes = {"max_steps": 4, "batch_size": 4, "learning_rate": 0.01, "warmup_steps": 1}
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    rows = np.array(images)
    ids = [f"text {row}" for row in range(len(texts))]
    pairs = TextImagePairs(ids, Ragged.from_rows(texts), rows, lambda chosen: vectors[rows[chosen]])
    return ContrastiveObjective(pairs, pairs, mask, 0, TEXT["context_length"], LoopConfig(**loop | sizes | changed), 0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TwoTowers(TwoTowersConfig(TEXT, 4))


def compute_loss(objective, model, rows):
    (part,) = objective.make_parts(0, np.array(rows), 1, 1)
    return objective.compute_loss(model, part, NOISE, Accelerator(cpu=True))


def test_texts_of_one_image_and_equal_texts_are_no_negatives():
    (part,) = make_objective().make_parts(0, np.array([0, 1, 2, 3]), 1, 1)
    masked = torch.isneginf(part.mask).nonzero().tolist()
    assert masked == [[0, 1], [1, 0], [1, 3], [3, 1]]
    assert part.tokens.tolist()[1] == [7, 1, 0, 0, 0]
    (plain,) = make_objective(mask=False).make_parts(0, np.array([0, 1, 2, 3]), 1, 1)
    assert not plain.mask.any()


def test_padding_for_cuda_graphs_ends_at_the_context(model):
    (part,) = make_objective().make_parts(0, np.array([0, 1, 2, 3]), 1, 8)
    assert part.tokens.shape == (4, TEXT["context_length"])
    loss = make_objective().compute_loss(model, part, NOISE, Accelerator(cpu=True))
    torch.testing.assert_close(loss, compute_loss(make_objective(), model, [0, 1, 2, 3]))


def test_without_duplicates_the_loss_is_open_clips(model):
    expected = compute_loss(make_objective(mask=False), model, [0, 2, 3])
    torch.testing.assert_close(compute_loss(make_objective(), model, [0, 2, 3]), expected, rtol=0, atol=0)
    (part,) = make_objective().make_parts(0, np.array([0, 2, 3]), 1, 1)
    with torch.no_grad():
        plain = open_clip.ClipLoss()(*model(part.images, part.tokens))
    torch.testing.assert_close(expected.detach(), plain, rtol=0, atol=0)


def test_the_mask_is_the_same_as_leaving_the_pair_out(model):
    (part,) = make_objective().make_parts(0, np.array([0, 1, 2, 3]), 1, 1)
    with torch.no_grad():
        images, texts, scale = model(part.images, part.tokens)
        logits = scale * images @ texts.T
    losses = []
    for table, row in ((table, row) for table in (logits, logits.T) for row in range(4)):
        kept = [column for column in range(4) if not torch.isneginf(part.mask[row, column])]
        losses.append(table[row, kept].logsumexp(0) - table[row, row])
    masked = compute_loss(make_objective(), model, [0, 1, 2, 3])
    torch.testing.assert_close(masked.detach(), torch.stack(losses).mean())
    assert masked < compute_loss(make_objective(mask=False), model, [0, 1, 2, 3])
    masked.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_validation_uses_whole_batches_only(model):
    sizes = []
    model.register_forward_pre_hook(lambda _, __, given: sizes.append(len(given["tokens"])), with_kwargs=True)
    more = {"texts": TEXTS * 3, "images": (0, 0, 1, 2) * 3}
    make_objective(batch_size=5, **more).validate(model, 0, Accelerator(cpu=True))
    make_objective(batch_size=64, **more).validate(model, 0, Accelerator(cpu=True))
    assert sizes == [5, 5, 12]


def test_duplicates_are_counted():
    counts = make_objective().count_duplicates(num_steps=3)
    assert counts == {"texts_with_another_of_their_image": 0.5, "texts_with_an_equal_one": 0.5}


def test_counts_are_those_of_the_mask():
    rows = np.random.default_rng(0).integers(0, 40, size=(2, 30))
    objective = make_objective(texts=[[5 + number, 1] for number in rows[0]], images=rows[1], batch_size=30)
    tables = objective.examples.find_duplicates(np.arange(30))
    counts = objective.count_duplicates(num_steps=1)
    assert list(counts.values()) == [table.any(axis=1).mean() for table in tables] and max(counts.values()) < 1
