"""Optimiser steps recorded as CUDA graphs, one per shape of a batch.

A step of a small model starts thousands of kernels that each take microseconds, so a GPU waits for the host most of
the time. A graph starts all kernels of a step at once. It repeats exactly the recorded kernels on the recorded
addresses: each batch is copied into the tensors that the recording read.
"""

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from close_transfer.training.parts import describe_shape, list_tensors, map_tensors, move_part
from close_transfer.training.train_step import Measured

_logger = logging.getLogger(__name__)

# A recording takes about as long as ten plain steps, so a shape that is met only now and then is not recorded. The
# first steps of a shape also let libraries choose their kernels and the optimiser create its state, which may not
# happen during a recording.
_PLAIN_STEPS = 3


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    parts: Sequence[Any]
    measured: Measured


class GraphedSteps:
    """Steps that are recorded when their shape is met again, and replayed from then on."""

    def __init__(
        self,
        take_step: Callable[[Sequence[Any]], Measured],
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        """Prepare the recordings.

        Args:
            take_step: function that does a step on parts on the device, without waiting for it.
            generators: generators of the device that `take_step` draws from; they are seeded before each step.
            device: GPU of the steps.
        """
        self._take_step, self._generators, self._device = take_step, generators, device
        self._stream = torch.cuda.Stream(device)
        self._recordings: dict[Hashable, _Recording] = {}
        self._num_met: Counter[Hashable] = Counter()
        self._can_record = True

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Use the stream of the recordings, because work of the default stream may not be mixed into them."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def run(self, parts: Sequence[Any]) -> Measured:
        """Do one step on these parts of the host; what it returns holds until the next step."""
        shape = tuple(describe_shape(part) for part in parts)
        recording = self._recordings.get(shape)
        if recording is None:
            self._num_met[shape] += 1
            if self._num_met[shape] <= _PLAIN_STEPS or not self._can_record:
                return self._run_plainly(parts)
            recording = self._record(parts)
            if recording is None:
                return self._run_plainly(parts)
            self._recordings[shape] = recording
        for static, part in zip(recording.parts, parts, strict=True):
            for target, source in zip(list_tensors(static), list_tensors(part), strict=True):
                target.copy_(source.pin_memory() if source.device.type == "cpu" else source, non_blocking=True)
        recording.graph.replay()
        return recording.measured

    def _run_plainly(self, parts: Sequence[Any]) -> Measured:
        return self._take_step([move_part(part, self._device) for part in parts])

    def _record(self, parts: Sequence[Any]) -> _Recording | None:
        """Record a step without doing it; return None if the model does what a graph cannot hold."""
        static = [map_tensors(lambda tensor: torch.empty_like(tensor, device=self._device), part) for part in parts]
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        # The recordings follow each other and leave nothing behind in their memory, so they share it.
        pool = next(iter(self._recordings.values())).graph.pool() if self._recordings else None
        try:
            with torch.cuda.graph(graph, pool=pool, stream=self._stream):
                measured = self._take_step(static)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._can_record = False
            _logger.warning("note: steps are not recorded as CUDA graphs: %s", str(error).splitlines()[0])
            return None
        return _Recording(graph, static, measured)
