"""The learning rate at every optimiser step, as a pure function."""

import math
from typing import Literal

Schedule = Literal["linear", "cosine", "constant", "close-code"]


def compute_learning_rate_factor(
    step: int, num_steps: int, warmup_steps: int, schedule: Schedule, batch_size: int = 1
) -> float:
    """What the learning rate is multiplied with at an optimiser step, in 0..1.

    Rises linearly over the warm-up, then falls to 0 at `num_steps` (or stays, if constant). "close-code"
    is the linear schedule of CLOSE's released code, whose end is counted in examples while it is asked
    once a batch, so that at a batch size of 128 the rate falls by 1/128 in all; it is there to repeat
    that code's runs.

    Args:
        step: optimiser steps done before this one, from 0.
        num_steps: optimiser steps in all.
        warmup_steps: length of the warm-up, cut to `num_steps`.
        schedule: the shape after the warm-up.
        batch_size: examples a step, which only "close-code" asks for.
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
