"""Batches of token ids: examples are tokenized once per run and batched with others of similar length."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import IntArray
from close_transfer.data.examples import Example
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.models.adapters import NoiseSource
from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.models.prompt_format import TextFormat
from close_transfer.training.batch_order import split_batch
from close_transfer.training.length_blocks import Block, split_by_length
from close_transfer.training.ragged import RaggedBuilder, round_up
from close_transfer.training.scene_tensors import HostScenes, SceneTensors, place_scenes

# Examples that are tokenized together. Python's lists of their ids take several times the memory of the arrays.
_AT_ONCE = 16_384


@dataclass(frozen=True)
class Batch:
    """Part of a global batch, ready for the model; shapes as in `models/network.py`.

    Attributes:
        start: position of the part's first example in the global batch.
        num_examples: number of examples in the global batch.
        num_target_tokens: number of target tokens in the global batch, over which its loss is averaged; shape (), float32.
        weight: factor of the part's loss, 0 for a part that `split_batch` filled; shape (), float32.
        blocks: blocks of targets that are computed one by one, each without the padding of longer ones; empty if all are
            computed together.
    """

    vectors: Tensor
    prompt_ids: Tensor
    prompt_mask: Tensor
    labels: Tensor
    scene_of_target: Tensor
    num_target_tokens: Tensor
    weight: Tensor
    start: int
    num_examples: int
    blocks: tuple[Block, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    def make_inputs(self, input_modality: InputModality, generator: torch.Generator | None) -> dict[str, object]:
        """Return the keyword arguments of the model's forward pass.

        Args:
            input_modality: modality of the inputs that the vectors were made from.
            generator: source of the noise; None for no noise.
        """
        noise = None if generator is None else NoiseSource(generator, self.start, self.num_examples)
        return {
            "vectors": self.vectors,
            "prompt_ids": self.prompt_ids,
            "prompt_mask": self.prompt_mask,
            "labels": self.labels,
            "scene_of_target": self.scene_of_target,
            "input_modality": input_modality,
            "noise": noise,
            "blocks": self.blocks,
        }


class TokenizedExamples:
    """Examples with their scene vectors and token ids; prompts and targets that are too long are cut.

    Attributes:
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
        self._examples = examples
        self._scenes = scenes
        self._vectors: SceneTensors = HostScenes(scenes)
        prompts, targets, num_targets = RaggedBuilder(), RaggedBuilder(), array("q")
        self.num_cut = 0
        for part in _divide(examples):
            pairs = [(target, example.prompt) for example in part for target in example.targets]
            encoded_prompts = text_format.encode_prompts([example.prompt for example in part], max_prompt_tokens)
            encoded_targets = text_format.encode_targets(
                [target.lower() if lowercase_targets else target for target, _ in pairs],
                max_target_tokens,
                [prompt for _, prompt in pairs],
            )
            self.num_cut += sum(was_cut for _, was_cut in (*encoded_prompts, *encoded_targets))
            prompts.extend(ids for ids, _ in encoded_prompts)
            targets.extend(ids for ids, _ in encoded_targets)
            num_targets.extend(len(example.targets) for example in part)
        self._prompts, self._targets = prompts.build(), targets.build()
        self._first_target = np.concatenate([[0], np.cumsum(num_targets, dtype=np.int64)])
        self._padding = text_format.padding

    def __len__(self) -> int:
        return len(self._examples)

    def get_id(self, row: int) -> str:
        """Return the id of an example, for messages."""
        return self._examples[row].id

    @property
    def longest_prompt(self) -> int:
        """Return the number of tokens of the longest prompt, with what a chat template adds after it."""
        return int(self._prompts.compute_lengths().max(initial=0))

    def compute_lengths(self) -> IntArray:
        """Return the number of prompt and target tokens of every example, for batches of similar length."""
        targets = np.add.reduceat(self._targets.compute_lengths(), self._first_target[:-1])
        return targets + self._prompts.compute_lengths()

    def hold_vectors_on(self, device: torch.device) -> None:
        """Hold all vectors in a GPU's memory if they fit there; on a CPU they stay on disk."""
        self._vectors = place_scenes(self._scenes, device)

    def make_parts(self, examples: IntArray, num_parts: int, multiple: int = 1) -> list[Batch]:
        """Return the global batch of these examples, in order, split into `num_parts` parts by `split_batch`.

        Args:
            examples: numbers of the examples.
            num_parts: number of parts.
            multiple: number that divides the padded lengths, and the number of targets: batches of few shapes.
        """
        num_tokens = float(self._target_lengths(self._list_targets(examples)).sum())
        return [
            self._make_part(examples[positions], int(positions[0]), len(examples), num_tokens, weight, multiple)
            for positions, weight in split_batch(len(examples), num_parts)
        ]

    def _list_targets(self, examples: IntArray) -> IntArray:
        """Return the numbers of the examples' targets, one example after the other."""
        firsts = self._first_target[examples]
        counts = self._first_target[examples + 1] - firsts
        return np.repeat(firsts - (counts.cumsum() - counts), counts) + np.arange(counts.sum())

    def _target_lengths(self, targets: IntArray) -> IntArray:
        return self._targets.starts[targets + 1] - self._targets.starts[targets]

    def _make_part(
        self, examples: IntArray, start: int, num_examples: int, num_tokens: float, weight: float, multiple: int
    ) -> Batch:
        counts = self._first_target[examples + 1] - self._first_target[examples]
        prompt_ids, prompt_mask = self._prompts.pad_with_mask(examples, self._padding, multiple)
        targets, scenes = self._list_targets(examples), np.repeat(np.arange(len(examples)), counts)
        blocks: tuple[Block, ...] = ()
        # Single targets are sorted already. A recording of a CUDA graph holds few shapes, so it has no blocks.
        if multiple == 1 and len(targets) > len(examples):
            lengths = self._target_lengths(targets)
            order = np.argsort(lengths, kind="stable")
            blocks = split_by_length(lengths[order])
            if blocks:
                targets, scenes = targets[order], scenes[order]
        labels = self._targets.pad(targets, IGNORED, multiple)
        scene_of_target = torch.from_numpy(scenes)
        # Targets that fill the batch up belong to the first scene. No token of them counts.
        missing = round_up(len(labels), multiple) - len(labels)
        return Batch(
            vectors=self._vectors.gather(examples),
            prompt_ids=prompt_ids,
            prompt_mask=prompt_mask,
            labels=F.pad(labels, (0, 0, 0, missing), value=IGNORED),
            scene_of_target=F.pad(scene_of_target, (0, missing)),
            num_target_tokens=torch.tensor(num_tokens),
            weight=torch.tensor(weight),
            start=start,
            num_examples=num_examples,
            blocks=blocks,
        )


def _divide(examples: Sequence[Example]) -> Iterator[list[Example]]:
    remaining = iter(examples)
    return iter(lambda: list(islice(remaining, _AT_ONCE)), [])
