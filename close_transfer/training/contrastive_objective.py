"""Contrastive objective: finding each text's image among those of the batch, and each image's text (CLIP)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import open_clip
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from close_transfer.config.components import LoopConfig
from close_transfer.core.arrays import IntArray
from close_transfer.models.two_towers import TwoTowers
from close_transfer.training.batch_order import iterate_batches
from close_transfer.training.image_objective import ImageObjective
from close_transfer.training.parts import move_part
from close_transfer.training.ragged import Ragged
from close_transfer.training.transfer_objective import sample_validation_rows

_MEASURED_BATCHES = 100  # enough for a mean, and measured in less than a second
_VALIDATION = 1  # random stream of the validation's batches, separate from that of the order


@dataclass(frozen=True)
class TextImagePairs:
    """Texts and their images, or the vectors of their images.

    Attributes:
        ids: identifiers of the texts.
        texts: token ids of each text, with the end token last.
        image_rows: number of each text's image, shape (texts,).
        gather_images: function that returns what `TwoTowers` takes as the images of these texts.
        text_numbers: the same number for equal texts, shape (texts,).
    """

    ids: Sequence[str]
    texts: Ragged
    image_rows: IntArray
    gather_images: Callable[[IntArray], Tensor]
    text_numbers: IntArray = field(init=False)

    def __post_init__(self) -> None:
        numbers: dict[bytes, int] = {}
        equal = [numbers.setdefault(self.texts[row].tobytes(), len(numbers)) for row in range(len(self.texts))]
        object.__setattr__(self, "text_numbers", np.array(equal, dtype=np.int64))

    def find_duplicates(self, rows: IntArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which pairs of these texts are of one image, and which are equal texts; both (rows, rows), False for itself."""
        others = ~np.eye(len(rows), dtype=bool)
        images, texts = self.image_rows[rows], self.text_numbers[rows]
        return (images[:, None] == images) & others, (texts[:, None] == texts) & others


@dataclass(frozen=True)
class ContrastivePart:
    """A global batch of texts with their images.

    Attributes:
        images: images as `TwoTowers` takes them.
        tokens: token ids, shape (rows, length).
        mask: number added to the logits of each pair: 0, or -inf for one that is not a negative; shape (rows, rows).
    """

    images: Tensor
    tokens: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.tokens)


def _count_repeated(numbers: IntArray) -> int:
    """Return how many of these numbers are there more than once; a table of pairs would be large for large batches."""
    _, counts = np.unique(numbers, return_counts=True)
    return int(counts[counts > 1].sum())


@dataclass
class ContrastiveObjective(ImageObjective):
    """Mean of two cross-entropies, from images to texts and from texts to images, over a whole batch: open_clip's loss.

    Attributes:
        examples: training texts with their images.
        validation: texts whose loss is measured, in batches as large as those of training.
        mask_duplicates: True to leave texts of the same image, and equal texts, out of each other's negatives.
        pad_id: token that fills a text up.
        context_length: largest number of tokens of a text.
        config: settings of the loop.
        seed: seed of all random draws.
    """

    splits_batches: ClassVar[bool] = False

    examples: TextImagePairs
    validation: TextImagePairs
    mask_duplicates: bool
    pad_id: int
    context_length: int
    config: LoopConfig
    seed: int
    _lengths: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self._lengths = self.examples.texts.compute_lengths()

    def compute_lengths(self) -> IntArray:
        return self._lengths

    def make_parts(self, step: int, rows: IntArray, num_parts: int, multiple: int) -> list[ContrastivePart]:
        assert num_parts == 1
        return [self._make_part(self.examples, rows, multiple)]

    def _make_part(self, pairs: TextImagePairs, rows: IntArray, multiple: int = 1) -> ContrastivePart:
        mask = torch.zeros(len(rows), len(rows))
        if self.mask_duplicates:
            same_image, same_text = pairs.find_duplicates(rows)
            mask[torch.from_numpy(same_image | same_text)] = float("-inf")
        # A multiple for CUDA graphs may be longer than the context.
        tokens = pairs.texts.pad(rows, self.pad_id, multiple)[:, : self.context_length]
        return ContrastivePart(pairs.gather_images(rows), tokens, mask)

    def compute_loss(
        self, model: torch.nn.Module, part: ContrastivePart, noise: torch.Generator, accelerator: Accelerator
    ) -> Tensor:
        with accelerator.autocast():
            images, texts, scale = model(images=part.images, tokens=part.tokens)
        # The bias of open_clip's loss is added to the logits of both directions. The mask is symmetric, so it fits both.
        return open_clip.ClipLoss()(images, texts, scale, logit_bias=part.mask)

    def validate(self, model: TwoTowers, step: int, accelerator: Accelerator) -> float:
        """Return the mean loss per text; a rest that is smaller than a batch is left out, because its loss would be lower."""
        rows = sample_validation_rows(len(self.validation.texts), self.config.max_val_examples, self.seed)
        # The rows are sorted, and a batch of neighbours would hold few images.
        rows = np.random.default_rng([self.seed, _VALIDATION]).permutation(rows)
        size = min(self.config.batch_size, len(rows))
        losses = []
        for start in range(0, len(rows) - size + 1, size):
            part = move_part(self._make_part(self.validation, rows[start : start + size]), accelerator.device)
            losses.append(float(self.compute_loss(model, part, torch.Generator(), accelerator)))
        return sum(losses) / len(losses)

    def count_duplicates(self, num_steps: int) -> dict[str, float]:
        """Return means over the first batches: texts with another text of their image in the batch, or with an equal text."""
        num_texts, of_image, equal = 0, 0, 0
        steps = min(num_steps, _MEASURED_BATCHES)
        limit = self.config.max_examples_per_epoch
        for rows in iterate_batches(self._lengths, self.config.batch_size, self.seed, 0, steps, limit):
            num_texts += len(rows)
            of_image += _count_repeated(self.examples.image_rows[rows])
            equal += _count_repeated(self.examples.text_numbers[rows])
        return {"texts_with_another_of_their_image": of_image / num_texts, "texts_with_an_equal_one": equal / num_texts}
