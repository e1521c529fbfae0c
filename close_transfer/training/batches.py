"""Examples as numbers: token ids once for the whole run, batches of similar length, their parts.

An optimiser step has a global batch. It is the same whatever the number of processes and whatever
the accumulation; those only decide how it is split into parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from close_transfer.config.choices import InputModality
from close_transfer.data.examples import Example
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.models.adapters import NoiseSource
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.models.prompt_format import TextFormat

Rows = NDArray[np.int64]

# Batches whose examples are sorted by length together. Larger pools save a little padding, but then a
# batch is of questions of one kind, and what all questions share is learned later.
_POOL = 8


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, one after the other."""

    values: NDArray[np.int32]
    starts: Rows

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int] | NDArray[np.int32]]) -> "Ragged":
        starts = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        values = np.fromiter((value for row in rows for value in row), dtype=np.int32, count=int(starts[-1]))
        return cls(values, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.values[self.starts[row] : self.starts[row + 1]]

    def lengths(self) -> Rows:
        return np.diff(self.starts)

    def pad(self, rows: Sequence[int], padding: int) -> Tensor:
        """Shape (rows, longest of them), int64."""
        picked = [self[row] for row in rows]
        result = np.full((len(rows), max((len(p) for p in picked), default=0)), padding, dtype=np.int64)
        for line, values in zip(result, picked, strict=True):
            line[: len(values)] = values
        return torch.from_numpy(result)

    def pad_with_mask(self, rows: Sequence[int], padding: int) -> tuple[Tensor, Tensor]:
        """As `padded`, with a mask of the same shape and kind: 1 where there is a value."""
        lengths = torch.from_numpy(self.lengths()[list(rows)])
        values = self.pad(rows, padding)
        return values, (torch.arange(values.shape[1]) < lengths[:, None]).long()


@dataclass(frozen=True)
class Batch:
    """A part of a global batch, ready for the model; shapes as in `models/network.py`.

    Attributes:
        start: position of its first example in the global batch.
        num_examples: size of the global batch.
        num_target_tokens: of the global batch, which its loss is averaged over.
    """

    vectors: Tensor
    prompt_ids: Tensor
    prompt_mask: Tensor
    labels: Tensor
    scene_of_target: Tensor
    start: int
    num_examples: int
    num_target_tokens: int

    def __len__(self) -> int:
        return len(self.vectors)

    def inputs(
        self, device: torch.device, input_modality: InputModality, generator: torch.Generator | None
    ) -> dict[str, object]:
        """Keyword arguments for the model's forward pass; `input_modality` is what the vectors were made from."""
        noise = None if generator is None else NoiseSource(generator, self.start, self.num_examples)
        return {
            "vectors": self.vectors.to(device),
            "prompt_ids": self.prompt_ids.to(device),
            "prompt_mask": self.prompt_mask.to(device),
            "labels": self.labels.to(device),
            "scene_of_target": self.scene_of_target.to(device),
            "input_modality": input_modality,
            "noise": noise,
        }


class TokenizedExamples:
    """Examples with their scene vectors and token ids; a target that is too long is cut.

    Attributes:
        ids: of the examples, for messages.
        num_cut: prompts and targets that were longer than allowed.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        scenes: SceneVectors,
        text_format: TextFormat,
        max_prompt_tokens: int,
        max_target_tokens: int,
        lowercase_targets: bool,
    ) -> None:
        assert len(examples) == len(scenes)
        self.ids = [example.id for example in examples]
        self._scenes = scenes
        prompts = [text_format.encode_prompt(example.prompt, max_prompt_tokens) for example in examples]
        targets = [
            text_format.encode_target(
                target.lower() if lowercase_targets else target, max_target_tokens, example.prompt
            )
            for example in examples
            for target in example.targets
        ]
        self.num_cut = sum(was_cut for _, was_cut in (*prompts, *targets))
        self._prompts = Ragged.from_rows([ids for ids, _ in prompts])
        self._targets = Ragged.from_rows([ids for ids, _ in targets])
        self._first_target = np.cumsum([0, *(len(example.targets) for example in examples)], dtype=np.int64)
        self._padding = text_format.padding

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def longest_prompt(self) -> int:
        """Tokens of it, with what a chat template puts behind it."""
        return int(self._prompts.lengths().max(initial=0))

    def lengths(self) -> Rows:
        """Target and prompt tokens of every example, for batches of similar length."""
        targets = np.add.reduceat(self._targets.lengths(), self._first_target[:-1])
        return targets + self._prompts.lengths()

    def parts(self, examples: Rows, num_parts: int) -> list[Batch]:
        """The global batch of these examples, in order, as so many parts."""
        num_tokens = int(sum(self._target_lengths(e).sum() for e in examples))
        starts = np.cumsum([0, *(len(part) for part in np.array_split(examples, num_parts))])
        return [
            self._batch(part, int(start), len(examples), num_tokens)
            for part, start in zip(np.array_split(examples, num_parts), starts, strict=False)
        ]

    def _target_lengths(self, example: int) -> Rows:
        first, end = self._first_target[example : example + 2]
        return np.diff(self._targets.starts[first : end + 1])

    def _batch(self, examples: Rows, start: int, num_examples: int, num_tokens: int) -> Batch:
        targets = [t for e in examples for t in range(self._first_target[e], self._first_target[e + 1])]
        counts = torch.from_numpy(self._first_target[examples + 1] - self._first_target[examples])
        prompt_ids, prompt_mask = self._prompts.pad_with_mask(examples.tolist(), self._padding)
        return Batch(
            vectors=torch.from_numpy(self._scenes[examples]),
            prompt_ids=prompt_ids,
            prompt_mask=prompt_mask,
            labels=self._targets.pad(targets, IGNORED),
            scene_of_target=torch.repeat_interleave(torch.arange(len(examples)), counts),
            start=start,
            num_examples=num_examples,
            num_target_tokens=num_tokens,
        )


def count_steps_per_epoch(num_examples: int, batch_size: int, max_examples: int | None = None) -> int:
    """Optimiser steps in one epoch of at most `max_examples` examples; the last batch may be smaller."""
    return -(-min(num_examples, max_examples or num_examples) // batch_size)


def make_epoch_batches(
    lengths: Rows, batch_size: int, seed: int, epoch: int, max_examples: int | None = None
) -> list[Rows]:
    """The global batches of one epoch: each example once, similar lengths together, random order.

    With `max_examples`, an epoch is a random draw of so many examples, another in each epoch. Depends on
    nothing but the arguments, so an interrupted epoch can be taken up anywhere.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))[:max_examples]
    batches = []
    pool = _POOL * batch_size
    for start in range(0, len(order), pool):
        chunk = order[start : start + pool]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def iterate_batches(
    lengths: Rows, batch_size: int, seed: int, first_step: int, num_steps: int, max_examples: int | None = None
) -> Iterator[Rows]:
    """Global batches for optimiser steps `first_step` to `num_steps`, over as many epochs as it takes."""
    an_epoch = count_steps_per_epoch(len(lengths), batch_size, max_examples)
    for epoch in range(first_step // an_epoch, -(-num_steps // an_epoch)):
        begin = max(0, first_step - epoch * an_epoch)
        end = min(an_epoch, num_steps - epoch * an_epoch)
        yield from make_epoch_batches(lengths, batch_size, seed, epoch, max_examples)[begin:end]
