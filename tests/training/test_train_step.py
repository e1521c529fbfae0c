"""One optimiser step, by its explicit inputs alone."""

import pytest
import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode

from close_transfer.training.batches import Batch
from close_transfer.training.train_step import make_generator, set_learning_rate, sum_loss, train_step
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
    num_tokens, weight = torch.tensor(float(LABELS.numel())), torch.tensor(1.0)
    return Batch(vectors[start:end], none, none, LABELS[start:end], scenes, num_tokens, weight, start, NUM)


def loss(model, part, number):
    return compute_transfer_loss(model, part, ACCELERATOR, make_generator("noise"), "text", 0.0)


def step(parts, learning_rate=0.1, **changed):
    """The weights after one step from the fixed ones, and what it measured."""
    network, _ = build_fixed_network()
    network.train()  # noise is drawn, and
    network.lm.eval()  # no dropout, which differs by how a batch is split
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    set_learning_rate(optimizer, learning_rate)
    measured = train_step(network, optimizer, parts, ACCELERATOR, loss, **{"clip_grad_norm": None, **changed})
    return flatten(network), measured


def flatten(network):
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()


def test_a_step_is_the_same_however_the_batch_is_split():
    whole, measured = step([part(0, 6)])
    parts, again = step([part(0, 2), part(2, 6)])
    assert torch.allclose(whole, parts, atol=1e-6)
    assert float(again.loss) == pytest.approx(float(measured.loss), rel=1e-5)


def test_the_loss_is_a_mean_over_tokens_and_the_learning_rate_is_the_given_one():
    start = flatten(build_fixed_network()[0])
    small, _ = step([part(0, 6)], learning_rate=0.01)
    large, _ = step([part(0, 6)], learning_rate=0.02)
    assert torch.allclose(large - start, 2 * (small - start), atol=1e-6)
    logits = torch.zeros(2, 3, 50)
    labels = torch.tensor([[1, 2, -100], [3, -100, -100]])
    assert float(sum_loss(logits, labels)) == pytest.approx(3 * torch.log(torch.tensor(50.0)).item())


@pytest.mark.parametrize(
    "build",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        lambda parameters: torch.optim.AdamW(parameters, lr=1.0, fused=True),
        lambda parameters: torch.optim.AdamW(parameters, lr=torch.tensor(1.0), fused=True),
    ],
    ids=["plain", "fused", "rate on the device"],
)
def test_a_gradient_that_is_not_finite_updates_nothing(build):
    network, _ = build_fixed_network()
    before = flatten(network)
    optimizer = build(network.parameters())
    vectors = VECTORS.clone()
    vectors[0, 0] = float("nan")
    measured = train_step(network, optimizer, [part(0, 6, vectors)], ACCELERATOR, loss, clip_grad_norm=1.0)
    assert not measured.is_finite and measured.loss.isnan()
    assert torch.equal(flatten(network), before)
    # The next step is done as if that one had not been: its moments and step count are untouched.
    set_learning_rate(optimizer, 0.1)
    train_step(network, optimizer, [part(0, 6)], ACCELERATOR, loss, clip_grad_norm=1.0)
    fresh, _ = build_fixed_network()
    optimizer = build(fresh.parameters())
    set_learning_rate(optimizer, 0.1)
    train_step(fresh, optimizer, [part(0, 6)], ACCELERATOR, loss, clip_grad_norm=1.0)
    assert torch.equal(flatten(network), flatten(fresh))


def test_a_scaled_loss_gives_the_same_step():
    network, _ = build_fixed_network()
    network.eval()
    plain, _ = build_fixed_network()
    plain.eval()
    scaled = Accelerator(cpu=True)
    scaled.scaler = torch.amp.GradScaler("cpu")  # as accelerate sets it for fp16, which needs a GPU
    for model, accelerator in ((network, scaled), (plain, ACCELERATOR)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        measured = train_step(model, optimizer, [part(0, 6)], accelerator, loss, clip_grad_norm=1.0)
        assert measured.is_finite
    assert torch.allclose(flatten(network), flatten(plain), atol=1e-6)


class NoWaiting(TorchDispatchMode):
    """Mode that raises where a GPU would be waited for: a value is read, or a shape depends on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.name() in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"):
            raise AssertionError(f"{function.name()} makes the host wait")
        return function(*args, **(kwargs or {}))


def test_backward_clipping_and_a_fused_update_read_nothing_back():
    network, _ = build_fixed_network()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    # The forward pass is apart, because transformers reads masks back on a CPU, but not in a recording on a GPU.
    prepared = loss(network, part(0, 6), 0)
    with NoWaiting():
        train_step(network, optimizer, [None], ACCELERATOR, lambda *_: prepared, clip_grad_norm=1.0)
    with pytest.raises(AssertionError, match="makes the host wait"), NoWaiting():
        float(torch.ones(()))
