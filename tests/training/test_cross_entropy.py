"""Cross-entropy in the memory of the logits, compared with PyTorch's."""

import pytest
import torch
from torch.nn import functional as F

from close_transfer.models.lm_wrappers import IGNORED
from close_transfer.training import cross_entropy
from close_transfer.training.train_step import sum_loss, sum_losses

WIDTH = 8


def compute(shape, vocabulary, compute_loss):
    """Return the loss, and the gradients of the inputs and of the weights that the logits are products of."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(*shape, WIDTH, generator=generator).requires_grad_()
    weights = torch.randn(vocabulary, WIDTH, generator=generator).requires_grad_()
    labels = torch.randint(vocabulary, shape, generator=generator)
    labels[0, 1:] = IGNORED
    loss = compute_loss(F.linear(inputs, weights), labels)
    return loss, *torch.autograd.grad(loss / 7, (inputs, weights))


def compute_plainly(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def compute_each_plainly(logits, labels):
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return (losses.unflatten(0, labels.shape).sum(dim=1) * torch.arange(1.0, len(labels) + 1)).sum()


@pytest.mark.parametrize(("shape", "vocabulary"), [((3, 4), 5), ((5, 7), 4001), ((1, 2), 300_000)])
@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (sum_loss, compute_plainly),
        (lambda *given: (sum_losses(*given) * torch.arange(1.0, len(given[1]) + 1)).sum(), compute_each_plainly),
    ],
    ids=["sum", "each"],
)
def test_loss_and_gradients_equal_those_of_pytorch_to_the_bit(shape, vocabulary, ours, plain, monkeypatch):
    monkeypatch.setattr(cross_entropy, "_CHUNK", 2**14)
    for one, other in zip(compute(shape, vocabulary, ours), compute(shape, vocabulary, plain), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "select",
    [lambda logits: logits[..., :5], lambda logits: logits[:, :, ::2], lambda logits: logits.transpose(0, 1)[:, :2]],
    ids=["part of a vocabulary", "every second token", "transposed"],
)
def test_logits_that_are_part_of_a_larger_tensor_give_the_same_gradient(select):
    full = torch.randn(3, 4, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    shape = select(full).shape
    labels = torch.randint(shape[2], shape[:2], generator=torch.Generator().manual_seed(1))
    ours, plain = sum_loss(select(full * 1), labels), compute_plainly(select(full * 1), labels)
    assert torch.equal(ours, plain)
    assert torch.equal(*(torch.autograd.grad(loss, full)[0] for loss in (ours, plain)))


def test_only_ignored_labels_give_no_gradient():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    labels = torch.full((2, 3), IGNORED)
    loss = sum_loss(logits * 1, labels)
    assert loss == 0 and torch.autograd.grad(loss, logits)[0].abs().sum() == 0


def test_a_second_backward_pass_is_an_error():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = sum_loss(logits * 1, torch.ones(2, 3, dtype=torch.long))
    loss.backward(retain_graph=True)
    with pytest.raises(AttributeError):
        loss.backward()


def test_logits_whose_values_a_gradient_needs_are_an_error_and_not_a_wrong_gradient():
    inputs = torch.randn(2, 3, 5, requires_grad=True)
    loss = sum_loss(inputs.exp(), torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
