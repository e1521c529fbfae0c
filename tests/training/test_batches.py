import numpy as np
import pytest
import torch

from close_transfer.data.examples import Example
from close_transfer.encoders.embeddings import EmbeddingMatrix, SceneVectors
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.prompt_format import TextFormat
from close_transfer.training import batches
from close_transfer.training.batch_order import (
    count_steps_per_epoch,
    iterate_batches,
    make_epoch_batches,
    split_batch,
)
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.scene_tensors import DeviceScenes, HostScenes

TEXTS = ["a red dog", "two blue cats in the snow", "a horse", "a very long sentence about a boat and a plane"]


@pytest.fixture
def examples():
    return [
        Example("one", (TEXTS[0],), targets=(TEXTS[0], TEXTS[1]), prompt="what is it"),
        Example("two", (TEXTS[1],), targets=(TEXTS[2],)),
        Example("three", (TEXTS[2], TEXTS[3]), targets=(TEXTS[3],), prompt="where"),
    ]


@pytest.fixture
def scenes():
    table = EmbeddingMatrix([np.arange(8, dtype=np.float32).reshape(4, 2)])
    return SceneVectors(table, np.array([0, 1, 2, 3]), np.array([0, 1, 2, 4]))


def tokenized(examples, scenes, **limits):
    tokenizer = train_bpe(TEXTS, 400, end_token="</s>")
    return tokenizer, TokenizedExamples(
        examples,
        scenes,
        TextFormat(tokenizer, "encoder-decoder"),
        limits.get("prompt", 16),
        limits.get("target", 32),
        lowercase_targets=True,
    )


def test_every_example_once_an_epoch_and_similar_lengths_together():
    lengths = np.random.default_rng(0).integers(1, 60, size=1003)
    batches = make_epoch_batches(lengths, 16, seed=5, epoch=2)
    assert sorted(np.concatenate(batches)) == list(range(1003))
    assert len(batches) == count_steps_per_epoch(1003, 16)
    within = np.mean([lengths[b].std() for b in batches])
    assert within < 0.2 * lengths.std()


def test_order_changes_with_epoch_and_seed_alone():
    lengths = np.arange(100)
    first = make_epoch_batches(lengths, 10, 0, 0)
    assert all((a == b).all() for a, b in zip(first, make_epoch_batches(lengths, 10, 0, 0), strict=True))
    assert any((a != b).any() for a, b in zip(first, make_epoch_batches(lengths, 10, 0, 1), strict=True))
    assert any((a != b).any() for a, b in zip(first, make_epoch_batches(lengths, 10, 1, 0), strict=True))


def test_batches_resume_at_any_step():
    lengths = np.arange(50)
    whole = list(iterate_batches(lengths, 8, 0, 0, 20))
    assert len(whole) == 20
    for first in (0, 5, 7, 13):
        rest = list(iterate_batches(lengths, 8, 0, first, 20))
        assert all((a == b).all() for a, b in zip(whole[first:], rest, strict=True))


def test_texts_of_a_scene_are_averaged(examples, scenes):
    _, all_of_them = tokenized(examples, scenes)
    (batch,) = all_of_them.make_parts(np.array([2, 0]), 1)
    torch.testing.assert_close(batch.vectors, torch.tensor([[5.0, 6.0], [0.0, 1.0]]))


def test_targets_point_to_their_scenes_and_decode_to_their_text(examples, scenes):
    tokenizer, all_of_them = tokenized(examples, scenes)
    (batch,) = all_of_them.make_parts(np.array([1, 0]), 1)
    assert batch.scene_of_target.tolist() == [0, 1, 1]
    decoded = [tokenizer.decode(row[row >= 0], skip_special_tokens=True).strip() for row in batch.labels]
    assert decoded == [TEXTS[2], TEXTS[0], TEXTS[1]]
    assert batch.prompt_mask[0].sum() == 0
    assert (
        tokenizer.decode(batch.prompt_ids[1][batch.prompt_mask[1] == 1], skip_special_tokens=True).strip()
        == "what is it"
    )


def test_parts_cover_the_batch_and_share_its_token_count(examples, scenes):
    _, all_of_them = tokenized(examples, scenes)
    rows = np.array([0, 1, 2])
    (whole,) = all_of_them.make_parts(rows, 1)
    parts = all_of_them.make_parts(rows, 2)
    torch.testing.assert_close(torch.cat([p.vectors for p in parts]), whole.vectors)
    assert [p.start for p in parts] == [0, 2]
    assert {float(p.num_target_tokens) for p in parts} == {float((whole.labels >= 0).sum())}


def test_a_part_without_a_row_repeats_one_with_weight_zero(examples, scenes):
    _, all_of_them = tokenized(examples, scenes)
    parts = all_of_them.make_parts(np.array([2, 0]), 4)
    assert [(len(part), part.start, part.weight) for part in parts] == [(1, 0, 1), (1, 1, 1), (1, 0, 0), (1, 0, 0)]
    assert [(rows.tolist(), weight) for rows, weight in split_batch(5, 3)] == [([0, 1], 1), ([2, 3], 1), ([4], 1)]


def test_padding_to_a_multiple_adds_nothing_that_counts(examples, scenes):
    _, all_of_them = tokenized(examples, scenes)
    rows = np.array([1, 0])
    (plain,), (padded,) = all_of_them.make_parts(rows, 1), all_of_them.make_parts(rows, 1, multiple=8)
    assert (
        len(padded.labels) == 8
        and 0 <= padded.labels.shape[1] - plain.labels.shape[1] < 8 == 8 - padded.labels.shape[1] % 8
    )
    assert padded.prompt_ids.shape[1] % 8 == 0 and padded.scene_of_target.tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert (padded.labels >= 0).sum() == (plain.labels >= 0).sum() == padded.num_target_tokens
    assert torch.equal(padded.labels[:3, : plain.labels.shape[1]], plain.labels)
    assert padded.prompt_mask.sum() == plain.prompt_mask.sum()


def test_vectors_held_on_a_device_are_those_on_disk(scenes):
    rows = np.array([2, 0, 2, 1])
    held = DeviceScenes(scenes, torch.device("cpu"))
    torch.testing.assert_close(held.gather(rows), HostScenes(scenes).gather(rows))
    single = SceneVectors(scenes.matrix, np.array([3, 1]), np.array([0, 1, 2]))
    assert torch.equal(
        DeviceScenes(single, torch.device("cpu")).gather(np.array([1, 0])), torch.tensor([[2.0, 3], [6, 7]])
    )


def test_long_texts_are_cut_counted_and_still_end(examples, scenes):
    tokenizer, all_of_them = tokenized(examples, scenes, prompt=2, target=4)
    assert all_of_them.num_cut >= 2
    (batch,) = all_of_them.make_parts(np.array([2]), 1)
    assert batch.labels.shape[1] == 4
    assert batch.labels[0, -1] == tokenizer.eos_token_id


def test_limited_epochs_are_different_random_draws():
    lengths = np.arange(100)
    drawn = [np.concatenate(make_epoch_batches(lengths, 8, 0, epoch, max_examples=30)) for epoch in (0, 1)]
    assert [len(set(one.tolist())) for one in drawn] == [30, 30]
    assert set(drawn[0].tolist()) != set(drawn[1].tolist())
    assert count_steps_per_epoch(100, 8, 30) == 4 == len(make_epoch_batches(lengths, 8, 0, 0, 30))
    whole = list(iterate_batches(lengths, 8, 0, 0, 10, max_examples=30))
    assert all(
        (a == b).all() for a, b in zip(whole[5:], iterate_batches(lengths, 8, 0, 5, 10, max_examples=30), strict=True)
    )


@pytest.mark.parametrize("at_once", [1, 2])
def test_examples_that_are_tokenized_in_parts_give_the_same_batches(examples, scenes, monkeypatch, at_once):
    _, whole = tokenized(examples, scenes, target=3)
    monkeypatch.setattr(batches, "_AT_ONCE", at_once)
    _, in_parts = tokenized(examples, scenes, target=3)
    assert whole.num_cut == in_parts.num_cut > 0
    for one, other in zip(
        whole.make_parts(np.array([2, 0, 1]), 2), in_parts.make_parts(np.array([2, 0, 1]), 2), strict=True
    ):
        for name in ("vectors", "prompt_ids", "prompt_mask", "labels", "scene_of_target", "num_target_tokens"):
            assert torch.equal(getattr(one, name), getattr(other, name))
