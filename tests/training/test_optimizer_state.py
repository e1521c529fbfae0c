"""State of optimiser and loss scaler, saved and restored."""

import pytest
import torch

from close_transfer.training.optimizer_state import collect_optimizer_tensors, restore_optimizer


def train(model, optimizer, scaler, factors):
    """Do one step per factor of the loss, and return the scale after each; an infinite factor overflows."""
    scales = []
    for factor in factors:
        optimizer.zero_grad()
        scaler.scale(model(torch.ones(2, 3)).sum() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return scales


def build():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    # Grows after three good steps, so that the number of steps since the last change matters.
    return model, torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", 1024.0, growth_interval=3)


def test_a_resumed_run_in_fp16_continues_with_the_same_scale_and_grows_it_at_the_same_step():
    whole = build()
    expected = train(*whole, [1, torch.inf, 1, 1, 1, 1, 1, 1])
    assert expected == [1024, 512, 512, 512, 1024, 1024, 1024, 2048]
    first = build()
    train(*first, [1, torch.inf, 1, 1])
    tensors = collect_optimizer_tensors(*first)
    model, optimizer, scaler = build()
    model.load_state_dict(first[0].state_dict())
    restore_optimizer(model, optimizer, tensors, scaler)
    assert train(model, optimizer, scaler, [1, 1, 1, 1]) == expected[4:]
    assert torch.equal(model.weight, whole[0].weight)


def test_a_scale_is_saved_only_if_there_is_one_and_other_precisions_leave_it_out():
    model, optimizer, scaler = build()
    train(model, optimizer, scaler, [1])
    tensors = collect_optimizer_tensors(model, optimizer, scaler)
    plain = collect_optimizer_tensors(model, optimizer)
    assert set(tensors) - set(plain) == {"loss_scaler/scale", "loss_scaler/_growth_tracker"}
    restore_optimizer(*build()[:2], tensors)
    restore_optimizer(*build()[:2], plain, fresh := build()[2])
    assert fresh.get_scale() == 1024


@pytest.mark.parametrize("change", [{"loss_scaler/scale": torch.ones(2)}, {"loss_scaler/other": torch.ones(())}])
def test_a_damaged_scale_is_refused(change):
    model, optimizer, scaler = build()
    tensors = collect_optimizer_tensors(model, optimizer, scaler) | change
    with pytest.raises(ValueError, match="the loss scaler has"):
        restore_optimizer(model, optimizer, tensors, scaler)
