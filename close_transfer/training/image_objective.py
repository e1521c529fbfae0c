"""Parts of an objective that all trainings of image encoders share: seeds, validations, messages."""

from collections.abc import Iterator
from typing import Any, ClassVar

from close_transfer.config.components import LoopConfig
from close_transfer.core.arrays import IntArray
from close_transfer.training.run_folder import TrainingState
from close_transfer.training.train_step import compute_seed
from close_transfer.training.transfer_objective import is_evenly_spread, list_first_ids, sample_validation_rows


class ImageObjective:
    """Base class of objectives whose examples are texts with their images; a subclass is a dataclass with these fields.

    Attributes:
        examples: training texts with their images; `ids` names the texts.
        config: settings of the loop.
        seed: seed of all random draws.
    """

    activity: ClassVar[str] = "training"
    unit: ClassVar[str] = "text"
    splits_batches: ClassVar[bool] = True

    examples: Any
    config: LoopConfig
    seed: int

    def seed_dropout(self, step: int, process: int) -> int:
        return compute_seed(self.seed, "dropout", step, process)

    def seed_noise(self, step: int) -> int:
        return 0  # nothing is drawn on the device

    def update_state(self, state: TrainingState) -> None:
        pass

    def is_validation_step(self, step: int, num_steps: int) -> bool:
        return is_evenly_spread(step, num_steps, self.config.num_validations)

    def divide_validation_rows(self, num_rows: int) -> Iterator[IntArray]:
        """Yield the rows that a validation uses of `num_rows`, as many at a time as a part of training has."""
        rows = sample_validation_rows(num_rows, self.config.max_val_examples, self.seed)
        size = self.config.batch_size // self.config.gradient_accumulation
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def suggest_remedy(self, rows: IntArray) -> str:
        texts = list_first_ids(rows, self.examples.ids.__getitem__)
        return f"Lower train.learning_rate, or set train.clip_grad_norm; this step's texts: {texts}"
