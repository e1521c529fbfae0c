"""Steps on a GPU: which devices and shapes a forward pass meets is checked without one; recordings need one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig

from close_transfer.config.components import LoopConfig
from close_transfer.core.errors import UserError
from close_transfer.models.adapters import ADAPTERS, NoiseSource
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.pipelines.train import train
from close_transfer.training.accelerator import build_accelerator
from close_transfer.training.batches import Batch
from close_transfer.training.parts import describe_shape, map_tensors
from close_transfer.training.run_folder import RunFolder
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.train_step import NonFiniteError, sum_loss
from tests.conftest import act_before_steps, small_config
from tests.families import FAMILIES
from tests.golden.record import DIM, build_fixed_network, fixed_values

NUM = 4


def needs_gpu(test):
    """Mark a test for `make test-gpu`; on a machine without a GPU it is skipped."""
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")(test))


class AnyNoise(NoiseSource):
    """Stand-in without a generator, because a generator of a GPU needs one."""

    def draw_normal(self, vectors):
        return torch.randn_like(vectors)

    def draw_uniform(self, vectors):
        return torch.rand_like(vectors[..., :1])


def make_batch(number=0):
    """A batch of fixed vectors and labels."""
    ids = torch.ones(NUM, 3, dtype=torch.long)
    labels = torch.arange(NUM * 8).reshape(NUM, 8) % 50 + 5
    scenes = torch.arange(NUM)
    vectors = fixed_values(torch.Size([NUM, DIM]), 3 + number)
    return Batch(vectors, ids, ids, labels, scenes, torch.tensor(32.0), torch.tensor(1.0), 0, NUM)


def build_network(family, adapter):
    kind, sizes = FAMILIES[family]
    is_t5 = kind == "t5"
    extra = {"decoder_start_token_id": 0, "pad_token_id": 0} if is_t5 else {"bos_token_id": 1, "eos_token_id": 1}
    settings = {"directions": 4} if adapter in ("truncate", "low_rank") else {}
    return TransferNetwork(
        TransferConfig(
            encoder={"name": "fixed", "dim": DIM, "fingerprint": "", "config": {}},
            adapter=[{"name": adapter, **settings}],
            mapper={"name": "linear", "num_tokens": 2, "num_constant_tokens": 0},
            noise={"std": 0.1},
            lm=AutoConfig.for_model(kind, **sizes, vocab_size=100, **extra).to_dict(),
            text_format={
                "kind": "encoder-decoder" if is_t5 else "decoder-only",
                "before": [] if is_t5 else [1, 2],
            },
        )
    )


@pytest.mark.parametrize(
    ("family", "adapter"),
    [(f, "gaussian") for f in FAMILIES] + [("t5", a) for a in sorted(ADAPTERS) if a != "gaussian"],
)
def test_a_forward_pass_reads_nothing_back_and_stays_on_the_gpu(family, adapter):
    """PyTorch's fake tensors know devices and shapes alone: reading a value or mixing devices raises."""
    with FakeTensorMode() as fake, torch.device("cuda"):
        network = build_network(family, adapter)
        for module in network.modules():  # fitted arrays are made on the CPU, and moved with the model
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.to("cuda"))
        batch = map_tensors(lambda tensor: fake.from_tensor(tensor).to("cuda"), make_batch())
        inputs = batch.make_inputs("text", None) | {"noise": AnyNoise(torch.Generator("cpu"), 0, NUM)}
        with torch.autocast("cuda", torch.bfloat16):
            logits = network.train()(**inputs)
        loss = sum_loss(logits, inputs["labels"]) / batch.num_target_tokens * batch.weight
        assert loss.device.type == "cuda" and loss.dtype == torch.float32


def test_shapes_of_parts_tell_recordings_apart():
    batch = make_batch()
    assert describe_shape(batch) == describe_shape(make_batch(1)), "other values, the same shapes"
    longer = torch.ones(NUM, 4, dtype=torch.long)
    assert describe_shape(replace(batch, prompt_ids=longer, prompt_mask=longer)) != describe_shape(batch)
    assert describe_shape(replace(batch, start=1)) != describe_shape(batch), "another place in the noise that is drawn"


class FixedObjective:
    """Stand-in for an objective: one batch per step, of which one may be broken."""

    splits_batches = True

    def __init__(self, broken=None):
        self.broken = broken

    def seed_dropout(self, step, process):
        return step

    def seed_noise(self, step):
        return step

    def make_parts(self, step, rows, num_parts, multiple):
        batch = make_batch(step)
        if step == self.broken:
            batch.vectors[0, 0] = float("nan")
        return [batch]

    def compute_loss(self, model, part, noise, accelerator):
        inputs = part.make_inputs("text", noise)
        with accelerator.autocast():
            logits = model(**inputs)
        return sum_loss(logits, inputs["labels"]) / part.num_target_tokens * part.weight


def loop_config() -> LoopConfig:
    return small_config().train


def build_runner(objective):
    network, _ = build_fixed_network()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    return network, StepRunner(network, optimizer, Accelerator(cpu=True), objective, loop_config())


def test_a_step_that_is_not_finite_is_named_at_once_on_a_cpu():
    _, runner = build_runner(FixedObjective(broken=1))
    runner.run(0, np.arange(NUM), 0.01)
    assert runner.look()["loss"] > 0
    with pytest.raises(NonFiniteError, match="the loss is nan and the gradient length nan") as caught:
        runner.run(1, np.arange(NUM), 0.01)
    assert caught.value.step == 1


def test_a_step_that_is_not_finite_is_skipped_and_named_at_the_next_look_on_a_gpu(monkeypatch):
    """Without a look after each step, as on a GPU."""
    look = StepRunner.look
    monkeypatch.setattr(StepRunner, "look", lambda self: None)
    network, runner = build_runner(FixedObjective(broken=1))
    expected, without = build_runner(FixedObjective())
    for step in range(4):
        runner.run(step, np.arange(NUM), 0.01)
        if step != 1:
            without.run(step, np.arange(NUM), 0.01)
    with pytest.raises(NonFiniteError, match="the loss is nan") as caught:
        look(runner)
    assert caught.value.step == 1, "the first one, although the steps after it were finite"
    for own, other in zip(network.parameters(), expected.parameters(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize(
    ("settings", "splits", "advice"),
    [
        ([], True, r"training on 16 examples at a time\. Give train\.gradient_accumulation=2, which"),
        (
            ["train.batch_size=18", "train.gradient_accumulation=2"],
            True,
            r"on 9 .* Give train\.gradient_accumulation=6, which",
        ),
        (["train.gradient_accumulation=16"], True, r"on 1 examples at a time\. Give a smaller lm="),
        ([], False, r"training on 16 examples at a time\. Give train\.batch_size=8, which compares"),
    ],
)
def test_a_batch_that_does_not_fit_into_the_memory_is_reported_with_a_setting_that_works(settings, splits, advice):
    class TooLarge(FixedObjective):
        splits_batches = splits

        def compute_loss(self, *_):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        def make_parts(self, step, rows, num_parts, multiple):
            return [make_batch()] * num_parts

    network, _ = build_fixed_network()
    optimizer = torch.optim.AdamW(network.parameters())
    runner = StepRunner(network, optimizer, Accelerator(cpu=True), TooLarge(), small_config(*settings).train)
    with pytest.raises(UserError, match=advice):
        runner.run(0, np.arange(NUM), 0.01)


@needs_gpu
def test_recorded_steps_equal_plain_ones():
    losses = {}
    for uses_graphs in (False, True):
        network, _ = build_fixed_network()
        accelerator = Accelerator()
        rate = torch.tensor(0.01, device="cuda")
        network = network.to("cuda")
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, fused=True, capturable=True)
        runner = StepRunner(network, optimizer, accelerator, FixedObjective(), loop_config(), uses_graphs=uses_graphs)
        losses[uses_graphs] = []
        with runner.stream():
            for step in range(12):
                runner.run(step, np.arange(NUM), 0.01)
                losses[uses_graphs].append(runner.look()["loss"])
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)


def compare_with_resumed(settings, monkeypatch, tolerance):
    """Train a run, and again with an interruption after half of it, and compare the losses of all steps."""
    given = [*settings, "lm.config.dropout_rate=0.1"]
    train(small_config(*given, "output=whole"), "text")

    def interrupt(step, _):
        if step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        act_before_steps(patched, interrupt)
        train(small_config(*given, "output=run"), "text")
    train(small_config(*given, "resume=run"), "text")
    whole, resumed = (
        [entry.get("loss", entry.get("validation_loss")) for entry in RunFolder(Path(name)).read_log()]
        for name in ("whole", "run")
    )
    assert len(whole) == 8 and resumed == pytest.approx(whole, rel=tolerance)


@needs_gpu
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [(["train.precision=fp32"], 1e-3), (["train.precision=auto"], 1e-2), (["train.precision=fp16"], 1e-2)],
)
def test_a_run_that_is_resumed_on_a_gpu_continues_with_the_same_losses(settings, tolerance, monkeypatch):
    compare_with_resumed([*settings, "device=cuda"], monkeypatch, tolerance)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "fp16"}, r"precision=fp16: a CPU does not train in fp16\. Give fp32 or bf16"),
        (
            {"precision": "fp32", "cuda_graphs": "always"},
            r"cuda_graphs=always: needs a GPU, and one process\. Give cuda_graphs=auto",
        ),
    ],
)
def test_what_only_a_gpu_can_do_is_refused_on_a_cpu(settings, message):
    with pytest.raises(UserError, match=message):
        build_accelerator("cpu", **settings)
