import numpy as np
import pytest

from close_transfer.encoders.prefix_batches import build_prefix_batch, pad_batch, plan_batches

START, END = 98, 99
TEXTS = [[1, 2, 3], [1, 2], [], [1, 2, 3], [4], [1, 2, 3, 5, 6, 7], [1, 4]]


def tokenize(texts, context=9):
    rows = np.zeros((len(texts), context), dtype=np.int64)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text) + 2] = [START, *text, END]
    return rows, np.array([len(text) + 2 for text in texts])


def list_prefixes(batch):
    """Return the tokens of each node, followed from the texts that lead to it."""
    prefixes = {}
    for nodes, length in zip(batch.nodes.tolist(), batch.lengths.tolist(), strict=True):
        tokens = tuple(batch.tokens[nodes[:length]].tolist())
        for end, node in enumerate(nodes[:length], start=1):
            assert prefixes.setdefault(node, tokens[:end]) == tokens[:end]
    return prefixes


@pytest.mark.parametrize("is_sorted", [True, False])
def test_nodes_are_the_prefixes_of_the_texts(is_sorted):
    rows, lengths = tokenize(sorted(TEXTS) if is_sorted else TEXTS)
    batch = build_prefix_batch(rows, lengths)
    prefixes = list_prefixes(batch)
    assert sorted(prefixes) == list(range(len(batch.tokens)))
    assert [prefixes[node][-1] for node in sorted(prefixes)] == batch.tokens.tolist()
    assert [len(prefixes[node]) - 1 for node in sorted(prefixes)] == batch.positions.tolist()
    assert batch.nodes.flatten()[batch.firsts].tolist() == list(range(len(batch.tokens)))
    for nodes, row, length in zip(batch.nodes, rows, lengths, strict=True):
        assert batch.tokens[nodes[:length]].tolist() == row[:length].tolist()
    if is_sorted:
        assert len(set(prefixes.values())) == len(prefixes), "each prefix occurs once"


def test_what_follows_the_end_is_not_part_of_a_prefix():
    rows, _ = tokenize([[1, 2, 3], [1, 2, 3]])
    batch = build_prefix_batch(rows, np.array([1, 4]))  # a text that ends at once, as one without an end token does
    assert batch.tokens.tolist() == [START, 1, 2, 3]
    assert batch.nodes[1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("max_tokens", [1, 40, 200, 10_000])
def test_batches_hold_every_text_once_and_no_more_than_their_tokens(max_tokens):
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 4, rng.integers(0, 40)).tolist() for _ in range(100)]
    rows, lengths = tokenize(texts, context=42)
    order = []
    for positions, batch in plan_batches(rows, lengths, max_tokens):
        assert batch.nodes.numel() <= max_tokens or len(positions) == 1
        assert batch.lengths.tolist() == lengths[positions].tolist()
        for nodes, row in zip(batch.nodes, positions, strict=True):
            assert batch.tokens[nodes[: lengths[row]]].tolist() == rows[row, : lengths[row]].tolist()
        order += positions.tolist()
    assert sorted(order) == list(range(len(texts)))


def test_a_padded_batch_holds_the_same_texts():
    rows, lengths = tokenize(TEXTS)
    batch = build_prefix_batch(rows, lengths)
    padded = pad_batch(batch)
    assert padded.nodes.shape == (16, 16) and len(padded.tokens) >= 16
    num_nodes = len(batch.tokens)
    assert padded.nodes.flatten()[padded.firsts[:num_nodes]].tolist() == list(range(num_nodes))
    assert padded.lengths[: len(TEXTS)].tolist() == lengths.tolist()
    for nodes, row, length in zip(padded.nodes, rows, lengths, strict=False):
        assert padded.tokens[nodes[:length]].tolist() == row[:length].tolist()
