import threading

import pytest
import torch

from close_transfer.encoders.background import fetch_late, map_ahead


@pytest.mark.parametrize("num_threads", [1, 3])
def test_results_are_in_order_and_items_are_read_only_a_little_ahead(num_threads):
    read = []

    def items():
        for item in range(20):
            read.append(item)
            yield item

    results = map_ahead(lambda item: item * item, items(), num_threads)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(read) <= 3 + 2 * num_threads
    assert list(results) == [item * item for item in range(3, 20)]


def test_an_error_is_raised_at_its_item_and_ends_the_threads():
    def fail_at_two(item):
        if item == 2:
            raise ValueError("two")
        return item

    results = map_ahead(fail_at_two, range(50), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encoding")]


def test_an_iteration_that_is_abandoned_ends_its_threads():
    results = map_ahead(lambda item: item, range(50), 2)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encoding")]


def test_vectors_of_a_cpu_are_fetched_at_once():
    computed = []

    def compute():
        for value in range(3):
            computed.append(value)
            yield torch.full((1, 2), value, dtype=torch.bfloat16)

    vectors = fetch_late(compute())
    assert next(vectors).tolist() == [[0, 0]]
    assert computed == [0]
    assert [array.dtype for array in vectors] == ["float32", "float32"]
