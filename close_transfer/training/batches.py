"""Batches of token ids: examples are tokenized once per run and batched with others of similar length.

Each optimiser step has a global batch, which does not depend on the number of processes or on gradient
accumulation. Those only decide into how many parts it is split.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import IntArray
from close_transfer.data.examples import Example
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.models.adapters import NoiseSource
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.models.prompt_format import TextFormat

# Batches whose examples are sorted by length together. Larger pools save a little padding, but then a
# batch holds questions of one kind only, and the model learns later what all questions share.
# batch is of questions of one kind, and what all questions share is learned later.
_BATCHES_PER_POOL = 8


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, stored one after the other."""

    values: NDArray[np.int32]
    starts: IntArray

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int] | NDArray[np.int32]]) -> "Ragged":
        starts = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        values = np.fromiter((value for row in rows for value in row), dtype=np.int32, count=int(starts[-1]))
        return cls(values, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.values[self.starts[row] : self.starts[row + 1]]

    def compute_lengths(self) -> IntArray:
        return np.diff(self.starts)

    def pad(self, rows: Sequence[int], padding: int) -> Tensor:
        """Return these rows, padded to the longest of them; shape (rows, longest), int64."""
        selected = [self[row] for row in rows]
        padded = np.full((len(rows), max((len(p) for p in selected), default=0)), padding, dtype=np.int64)
        for line, values in zip(padded, selected, strict=True):
            line[: len(values)] = values
        return torch.from_numpy(padded)

    def pad_with_mask(self, rows: Sequence[int], padding: int) -> tuple[Tensor, Tensor]:
        """Return what `pad` returns, and a mask of the same shape and dtype: 1 for a value, 0 for padding."""
        lengths = torch.from_numpy(self.compute_lengths()[list(rows)])
        values = self.pad(rows, padding)
        return values, (torch.arange(values.shape[1]) < lengths[:, None]).long()


@dataclass(frozen=True)
class Batch:
    """Part of a global batch, ready for the model; shapes as in `models/network.py`.

    Attributes:
        start: position of the part's first example in the global batch.
        num_examples: number of examples in the global batch.
        num_target_tokens: number of target tokens in the global batch, over which its loss is averaged.
        weight: factor of the part's loss; 0 for a part that `split_batch` filled.
    """

    vectors: Tensor
    prompt_ids: Tensor
    prompt_mask: Tensor
    labels: Tensor
    scene_of_target: Tensor
    start: int
    num_examples: int
    num_target_tokens: int
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.vectors)

    def make_inputs(
        self, device: torch.device, input_modality: InputModality, generator: torch.Generator | None
    ) -> dict[str, object]:
        """Return the keyword arguments of the model's forward pass.

        Args:
            device: device of the model.
            input_modality: modality of the inputs that the vectors were made from.
            generator: source of the noise; None for no noise.
        """
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
    """Examples with their scene vectors and token ids; prompts and targets that are too long are cut.

    Attributes:
        ids: ids of the examples, for messages.
        num_cut: number of prompts and targets that were cut.
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
        prompts = text_format.encode_prompts([example.prompt for example in examples], max_prompt_tokens)
        pairs = [(target, example.prompt) for example in examples for target in example.targets]
        targets = text_format.encode_targets(
            [target.lower() if lowercase_targets else target for target, _ in pairs],
            max_target_tokens,
            [prompt for _, prompt in pairs],
        )
        self.num_cut = sum(was_cut for _, was_cut in (*prompts, *targets))
        self._prompts = Ragged.from_rows([ids for ids, _ in prompts])
        self._targets = Ragged.from_rows([ids for ids, _ in targets])
        self._first_target = np.cumsum([0, *(len(example.targets) for example in examples)], dtype=np.int64)
        self._padding = text_format.padding

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def longest_prompt(self) -> int:
        """Return the number of tokens of the longest prompt, with what a chat template adds after it."""
        return int(self._prompts.compute_lengths().max(initial=0))

    def compute_lengths(self) -> IntArray:
        """Return the number of prompt and target tokens of every example, for batches of similar length."""
        targets = np.add.reduceat(self._targets.compute_lengths(), self._first_target[:-1])
        return targets + self._prompts.compute_lengths()

    def make_parts(self, examples: IntArray, num_parts: int) -> list[Batch]:
        """Return the global batch of these examples, in order, split into `num_parts` parts by `split_batch`."""
        num_tokens = int(sum(self._count_target_tokens(e).sum() for e in examples))
        return [
            self._make_part(examples[positions], int(positions[0]), len(examples), num_tokens, weight)
            for positions, weight in split_batch(len(examples), num_parts)
        ]

    def _count_target_tokens(self, example: int) -> IntArray:
        first, end = self._first_target[example : example + 2]
        return np.diff(self._targets.starts[first : end + 1])

    def _make_part(self, examples: IntArray, start: int, num_examples: int, num_tokens: int, weight: float) -> Batch:
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
            weight=weight,
        )


def split_batch(num_rows: int, num_parts: int) -> list[tuple[IntArray, float]]:
    """Return the positions of each part's rows in a global batch, in order, and the weight of the part's loss: 1.

    The last batch of an epoch may have fewer rows than there are parts. A part that would be empty repeats the first
    row with weight 0, because the processes wait for each other's gradients: each must go backward.
    """
    parts = np.array_split(np.arange(num_rows), num_parts)
    return [(part, 1.0) if len(part) else (np.arange(1), 0.0) for part in parts]


def count_steps_per_epoch(num_examples: int, batch_size: int, max_examples: int | None = None) -> int:
    """Return the number of optimiser steps in an epoch of at most `max_examples` examples.

    The last batch may be smaller than the others.
    """
    return -(-min(num_examples, max_examples or num_examples) // batch_size)


def make_epoch_batches(
    lengths: IntArray, batch_size: int, seed: int, epoch: int, max_examples: int | None = None
) -> list[IntArray]:
    """Return the global batches of one epoch: each example once, similar lengths together, in random order.

    With `max_examples`, each epoch is another random draw of that many examples. The padded depends on the
    arguments only, so an interrupted epoch can be resumed at any step.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))[:max_examples]
    batches = []
    pool = _BATCHES_PER_POOL * batch_size
    for start in range(0, len(order), pool):
        chunk = order[start : start + pool]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def iterate_batches(
    lengths: IntArray, batch_size: int, seed: int, first_step: int, num_steps: int, max_examples: int | None = None
) -> Iterator[IntArray]:
    """Yield the global batches of optimiser steps `first_step` to `num_steps`, over as many epochs as needed."""
    steps_per_epoch = count_steps_per_epoch(len(lengths), batch_size, max_examples)
    for epoch in range(first_step // steps_per_epoch, -(-num_steps // steps_per_epoch)):
        begin = max(0, first_step - epoch * steps_per_epoch)
        end = min(steps_per_epoch, num_steps - epoch * steps_per_epoch)
        yield from make_epoch_batches(lengths, batch_size, seed, epoch, max_examples)[begin:end]
