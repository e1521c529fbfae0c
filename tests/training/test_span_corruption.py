"""Inputs and targets of a language model in pretraining."""

from itertools import pairwise

import numpy as np
import pytest

from close_transfer.training.span_corruption import SpanCorruptor, choose_spans, count_sentinels

END, FIRST_SENTINEL = 1, 1000


def random_texts(count=3000, most=30):
    rng = np.random.default_rng(0)
    return [np.append(rng.integers(2, 900, rng.integers(0, most)), END).astype(np.int32) for _ in range(count)]


@pytest.mark.parametrize("rate", [0.15, 0.5, 0.9])
@pytest.mark.parametrize("mean", [1, 3, 10])
def test_dropped_spans(rate, mean):
    rng = np.random.default_rng(1)
    dropped = positions = 0
    for length in range(2, 40):
        for _ in range(50):
            spans = choose_spans(length, rate, mean, rng)
            assert spans
            assert all(begin < end for begin, end in spans)
            assert all(one[1] < other[0] for one, other in pairwise(spans))
            assert spans[0][0] >= 0
            assert spans[-1][1] <= length
            assert sum(end - begin for begin, end in spans) < length
            if length >= 20:
                dropped += sum(end - begin for begin, end in spans)
                positions += length
    assert dropped / positions == pytest.approx(rate, abs=0.01)


def test_any_position_can_be_dropped():
    rng = np.random.default_rng(2)
    times = np.zeros(20)
    for _ in range(4000):
        for begin, end in choose_spans(20, 0.5, 3, rng):
            times[begin:end] += 1
    assert np.allclose(times[2:-2] / 4000, 0.5, atol=0.1)
    assert np.allclose(times, times[::-1], rtol=0.1)
    assert times[0] > 0.2 * 4000  # T5 itself never drops the first


@pytest.mark.parametrize(("rate", "mean"), [(0.15, 3), (0.5, 1), (0.5, 3), (0.9, 2)])
def test_denoising_target_and_input_restore_the_text(rate, mean):
    sentinels = [FIRST_SENTINEL + k for k in range(count_sentinels(30, rate, mean))]
    corrupt = SpanCorruptor(rate, mean, END, sentinels)
    rng = np.random.default_rng(3)
    for text in random_texts():
        read, written = corrupt(text, rng)
        spans, current = {}, None
        for token in written[:-1].tolist():
            if token >= FIRST_SENTINEL:
                current = token
                spans[current] = []
            else:
                spans[current].append(token)
        restored = [t for token in read.tolist() for t in (spans[token] if token >= FIRST_SENTINEL else [token])]
        assert restored == text.tolist()
        assert written[-1] == END
        # The last sentinel closes the last span and stands nowhere in the input.
        assert list(spans) == sentinels[: len(spans)]
        assert [t for t in read if t >= FIRST_SENTINEL] == sentinels[: len(spans) - 1]


def test_reconstruction_reads_a_part_and_writes_all():
    corrupt = SpanCorruptor(0.5, 3, END)
    rng = np.random.default_rng(4)
    num_read = num_written = 0
    for text in random_texts():
        read, written = corrupt(text, rng)
        assert written.tolist() == text.tolist()
        assert read[-1] == END
        rest = iter(text.tolist())
        assert all(token in rest for token in read.tolist())  # in the same order
        if len(text) > 2:
            assert len(read) < len(text)
        num_read, num_written = num_read + len(read) - 1, num_written + len(written) - 1
    assert num_read / num_written == pytest.approx(0.5, abs=0.02)
