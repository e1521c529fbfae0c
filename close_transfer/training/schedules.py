"""Learning rate schedules, as a pure function of the step."""

import math
from typing import Literal

Schedule = Literal["linear", "cosine", "constant", "close-code"]


def compute_learning_rate_factor(
    step: int, num_steps: int, warmup_steps: int, schedule: Schedule, batch_size: int = 1
) -> float:
    """Return the factor of the learning rate at an optimiser step, in 0..1.

    The factor rises linearly over the warm-up, then falls to 0 at `num_steps` (or stays at 1 if constant).
    "close-code" repeats the linear schedule of CLOSE's released code. That code counts the end in examples, but
    the steps in batches, so at a batch size of 128 the rate falls by 1/128 only.

    Args:
        step: number of optimiser steps done before this one, from 0.
        num_steps: number of optimiser steps of the whole run.
        warmup_steps: length of the warm-up, at most `num_steps`.
        schedule: shape after the warm-up.
        batch_size: examples per step; only "close-code" uses it.
    """
    if schedule == "close-code":
        num_steps *= batch_size
    warmup_steps = min(warmup_steps, num_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if schedule in ("linear", "close-code"):
        return max(0.0, 1.0 - progress)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
