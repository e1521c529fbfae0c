"""One optimiser step, by its explicit inputs alone."""

import pytest
import torch
from accelerate import Accelerator

from close_transfer.training.batches import Batch
from close_transfer.training.train_step import NonFiniteError, make_generator, sum_loss, train_step
from close_transfer.training.transfer_objective import compute_transfer_loss
from tests.golden.record import DIM, build_fixed_network, fixed_values

ACCELERATOR = Accelerator(cpu=True)
NUM = 6
VECTORS = fixed_values(torch.Size([NUM, DIM]), 3)
LABELS = torch.arange(NUM * 4).reshape(NUM, 4) % 90 + 5


def part(start, end, vectors=VECTORS):
    """The examples from `start` to before `end` of a global batch of six."""
    none = torch.zeros(end - start, 0, dtype=torch.long)
    scenes = torch.arange(end - start)
    return Batch(vectors[start:end], none, none, LABELS[start:end], scenes, start, NUM, LABELS.numel())


def loss(model, part):
    return compute_transfer_loss(model, part, ACCELERATOR, make_generator("noise"), "text", 0.0)


def step(parts, **changed):
    """The weights after one step from the fixed ones, and what it measured."""
    network, _ = build_fixed_network()
    network.train()  # noise is drawn, and
    network.lm.eval()  # no dropout, which differs by how a batch is split
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    settings = {
        "learning_rate": 0.1,
        "clip_grad_norm": None,
    } | changed
    measured = train_step(network, optimizer, parts, ACCELERATOR, loss, **settings)
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach(), measured


def test_a_step_is_the_same_however_the_batch_is_split():
    whole, measured = step([part(0, 6)])
    parts, again = step([part(0, 2), part(2, 6)])
    assert torch.allclose(whole, parts, atol=1e-6)
    assert again["loss"] == pytest.approx(measured["loss"], rel=1e-5)


def test_the_loss_is_a_mean_over_tokens_and_the_learning_rate_is_the_given_one():
    start = torch.nn.utils.parameters_to_vector(build_fixed_network()[0].parameters()).detach()
    small, measured = step([part(0, 6)], learning_rate=0.01)
    large, _ = step([part(0, 6)], learning_rate=0.02)
    assert torch.allclose(large - start, 2 * (small - start), atol=1e-6)
    assert measured["learning_rate"] == 0.01
    logits = torch.zeros(2, 3, 50)
    labels = torch.tensor([[1, 2, -100], [3, -100, -100]])
    assert float(sum_loss(logits, labels)) == pytest.approx(3 * torch.log(torch.tensor(50.0)).item())


def test_a_gradient_that_is_not_finite_updates_nothing():
    network, _ = build_fixed_network()
    before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    vectors = VECTORS.clone()
    vectors[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="the loss is nan"):
        train_step(
            network, torch.optim.SGD(network.parameters(), lr=1.0), [part(0, 6, vectors)], ACCELERATOR, loss,
            learning_rate=0.1, clip_grad_norm=1.0,
        )  # fmt: skip
    assert torch.equal(torch.nn.utils.parameters_to_vector(network.parameters()).detach(), before)
