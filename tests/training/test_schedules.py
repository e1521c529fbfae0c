import itertools

import pytest

from close_transfer.training.schedules import compute_learning_rate_factor


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("linear", 0, 1 / 11),
        ("linear", 9, 10 / 11),
        ("linear", 10, 1.0),
        ("linear", 60, 0.5),
        ("linear", 109, 0.01),
        ("cosine", 60, 0.5),
        ("cosine", 10, 1.0),
        ("constant", 109, 1.0),
    ],
)
def test_factor_at_named_steps(schedule, step, factor):
    assert compute_learning_rate_factor(step, 110, 10, schedule) == pytest.approx(factor, abs=1e-6)


def test_never_rises_after_the_warm_up():
    for schedule in ("linear", "cosine"):
        factors = [compute_learning_rate_factor(step, 200, 20, schedule) for step in range(20, 200)]
        assert all(a >= b for a, b in itertools.pairwise(factors))
        assert factors[-1] >= 0


def test_the_released_code_barely_decays():
    """Its horizon is in examples: 110 steps of 128 end where 110 of 14,080 steps would (its README's settings)."""
    assert compute_learning_rate_factor(109, 110, 0, "close-code", 128) == pytest.approx(1 - 109 / (110 * 128))
    assert compute_learning_rate_factor(109, 110, 0, "linear", 128) == pytest.approx(1 / 110)
