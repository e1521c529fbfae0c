"""Work that is done ahead of a device: preparing batches in threads, and fetching results late."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from close_transfer.core.arrays import Float32Array

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], num_threads: int) -> Generator[Result]:
    """Yield the function's result for each item, in order, computed in threads up to twice their number ahead."""
    executor = ThreadPoolExecutor(num_threads, thread_name_prefix="encoding")
    return map_in_pool(executor, function, items, 2 * num_threads)


def map_in_pool(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], num_ahead: int
) -> Generator[Result]:
    """Yield the function's result for each item, in order, up to `num_ahead` computed ahead; then close the pool."""
    remaining = iter(items)
    try:
        pending: deque[Future[Result]] = deque()
        for item in islice(remaining, num_ahead):
            pending.append(executor.submit(function, item))
        while pending:
            result = pending.popleft().result()
            for item in islice(remaining, 1):
                pending.append(executor.submit(function, item))
            yield result
    finally:
        executor.shutdown(cancel_futures=True)


def copy_to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return the tensor on a device, without waiting for a GPU that is busy."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        # The host continues during a copy only if it is from pinned memory.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def fetch_late(vectors: Iterable[Tensor]) -> Iterator[Float32Array]:
    """Yield vectors as float32 arrays; those of a GPU after the work on the next has begun, so that it is never idle."""
    waiting: deque[tuple[Tensor, torch.cuda.Event]] = deque()
    for tensor in vectors:
        if not tensor.is_cuda:
            yield tensor.float().numpy()
            continue
        copy = tensor.float().to("cpu", non_blocking=True)  # into pinned memory
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(tensor.device))
        waiting.append((copy, event))
        if len(waiting) > 1:
            yield _wait_for(*waiting.popleft())
    for copy, event in waiting:
        yield _wait_for(copy, event)


def _wait_for(copy: Tensor, event: torch.cuda.Event) -> Float32Array:
    event.synchronize()
    return copy.numpy()
