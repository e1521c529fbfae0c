"""Interface between the training loop and the objective that it minimises."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from close_transfer.core.arrays import IntArray
from close_transfer.training.run_folder import TrainingState


class Objective(Protocol):
    """Batches of some examples, their loss, and a validation.

    All random draws follow from a seed and the step, so a resumed training equals one that never stopped.

    Attributes:
        activity: label of the progress bar.
        unit: name of an example in the progress bar.
        splits_batches: True if the parts of a batch give its loss; False if the loss compares all of its examples.
    """

    activity: ClassVar[str]
    unit: ClassVar[str]
    splits_batches: ClassVar[bool]

    def compute_lengths(self) -> IntArray:
        """Return the length of every training example, for batches of similar length."""

    def seed_dropout(self, step: int, process: int) -> int:
        """Return the seed of the global generator for one step of one process."""

    def seed_noise(self, step: int) -> int:
        """Return the seed of the noise of one step, the same for all parts and processes."""

    def make_parts(self, step: int, rows: IntArray, num_parts: int, multiple: int) -> Sequence[Any]:
        """Return the global batch of these rows in `num_parts` parts, split by `batch_order.split_batch`.

        A part is a dataclass of tensors and numbers (`parts.py`). Lengths are padded to multiples of `multiple`.
        """

    def compute_loss(
        self, model: torch.nn.Module, part: Any, noise: torch.Generator, accelerator: Accelerator
    ) -> Tensor:
        """Return a part's share of the global batch's mean loss, in nats per target token; `noise` is seeded."""

    def update_state(self, state: TrainingState) -> None:
        """Add to the state what the last step contributed."""

    def is_validation_step(self, step: int, num_steps: int) -> bool:
        """Return True if a validation follows after this many steps; one always follows after the last step."""

    def validate(self, model: Any, step: int, accelerator: Accelerator) -> float:
        """Return the mean loss per target token over the validation examples; the model is in evaluation mode."""

    def suggest_remedy(self, rows: IntArray) -> str:
        """Return a sentence on what the user can do if the loss of these rows is not finite."""
