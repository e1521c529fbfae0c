"""Memory that training takes, and the graphics cards that it fits into.

    python benchmarks/memory_table.py
    python benchmarks/memory_table.py --lm t5-base --batch-size 1024 --output memory_table.json

The peak of a step is reckoned without a GPU: PyTorch's fake tensors have shapes and no numbers, and its memory tracker
adds up what is alive at a time. Weights, their gradients and AdamW's two moments are in float32. The batch has the
longest targets that a run meets. A real step of the small T5 on the CPU checks the reckoning by resident memory.
`--measured` measures the same steps on a GPU instead.
"""

import argparse
import gc
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import measuring
import torch
from accelerate import Accelerator
from check_experiments import build_random_language_model, build_random_network
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn import functional as F

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.training.train_step import train_step

DIM, TARGET_TOKENS = 768, 48  # width of ViT-L/14's vectors; task.max_target_tokens of captioning
CARDS = (8, 12, 24, 80)  # GiB, as cards are sold
# A CUDA context with the libraries' workspaces, and 5% of the card that the allocator cannot use in whole blocks.
CONTEXT, USABLE = 0.7 * 2**30, 0.95
VECTORS = 414_000 * DIM * 4  # COCO's vectors, which training holds in the GPU's memory if they take a small share of it
VECTORS_SHARE = 0.25
FITTED = (64, 128)  # batches whose peaks give the line; activations outweigh gradients in both
CHECK = ("t5-mini", 512)  # network and batch that are small enough to run here


class Step:
    """Training step of a network with random weights on random tokens."""

    def __init__(self, lm: str, precision: str, device: str) -> None:
        config = compose_config("train", TrainConfig, [f"lm={lm}"])
        self._accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no" if precision == "fp32" else precision)
        self.device = device
        with torch.device(device):
            self.network = build_random_network(config, build_random_language_model(config.lm), DIM).train()
        # One kernel updates all weights, as in training on a GPU, and keeps nothing in between.
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, fused=True)
        self.num_trained = sum(parameter.numel() for parameter in trained)

    def run(self, batch_size: int) -> None:
        with torch.device(self.device):
            none = torch.zeros(batch_size, 0, dtype=torch.long)
            labels = torch.randint(1, 300, (batch_size, TARGET_TOKENS))
            inputs = (torch.randn(batch_size, DIM), none, none, labels, torch.arange(batch_size), "text", None)

        def compute_loss(model: torch.nn.Module, _: object, __: int) -> torch.Tensor:
            with self._accelerator.autocast():
                logits = model(*inputs)
            # As `sum_loss` on a GPU; on a CPU it works in the memory of the logits, and takes less.
            return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten())

        train_step(self.network, self.optimizer, [None], self._accelerator, compute_loss, clip_grad_norm=1.0)


@dataclass(frozen=True)
class Reckoning:
    """Memory of training a network, in bytes.

    Attributes:
        num_trained: number of trained parameters.
        kept: weights and moments, which stay between steps.
        with_gradients: the same and the gradients, which all exist before the update.
        fixed, per_example: peak of a step with many examples, as a straight line.
    """

    num_trained: int
    kept: int
    with_gradients: int
    fixed: float
    per_example: float

    def reckon_peak(self, batch_size: int) -> float:
        return max(self.with_gradients, self.fixed + self.per_example * batch_size)

    def reckon_recorded(self, batch_size: int) -> float:
        """Return the peak with CUDA graphs, whose memory is their own: what a step adds is there twice."""
        return self.kept + 2 * (self.reckon_peak(batch_size) - self.kept)


def reckon(lm: str, precision: str) -> Reckoning:
    """Return the memory of a training, from two batches of fake tensors."""
    peaks = []
    with FakeTensorMode():
        step = Step(lm, precision, "cpu")
        step.run(2)  # AdamW creates its moments
        for batch_size in FITTED:
            tracker = MemTracker()
            tracker.track_external(step.network, step.optimizer)
            with tracker:
                step.run(batch_size)
            (snapshot,) = tracker.get_tracker_snapshot("peak").values()
            peaks.append(snapshot["Total"])
    slope = (peaks[1] - peaks[0]) / (FITTED[1] - FITTED[0])
    kept = sum(4 * parameter.numel() for parameter in step.network.parameters()) + 8 * step.num_trained
    return Reckoning(step.num_trained, kept, kept + 4 * step.num_trained, peaks[0] - slope * FITTED[0], slope)


def find_accumulation(reckoning: Reckoning, batch_size: int, size: int) -> int | None:
    """Return the fewest parts of a batch with which training fits into a card of `size` GiB; None if one example does not."""
    limit = USABLE * size * 2**30 - CONTEXT
    # The vectors stay on disk if the memory is small.
    vectors = VECTORS if VECTORS_SHARE * limit > VECTORS else 0
    divisors = (parts for parts in range(1, batch_size + 1) if batch_size % parts == 0)
    return next(
        (parts for parts in divisors if reckoning.reckon_recorded(batch_size // parts) + vectors <= limit), None
    )


def measure_on_gpu(lm: str, batch_size: int, precision: str) -> int | None:
    """Return the largest number of bytes that a step takes on the GPU; None if it does not fit."""
    gc.collect()  # the network of the row before
    try:
        step = Step(lm, precision, "cuda")
        step.run(2)
        torch.cuda.reset_peak_memory_stats()
        step.run(batch_size)
        return torch.cuda.max_memory_allocated()
    except torch.cuda.OutOfMemoryError:
        return None


def run_child(code: str) -> float:
    """Return the last number that a program prints, in a new process."""
    command = [sys.executable, "-c", f"from memory_table import *; {code}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent).stdout
    return float(output.split()[-1])


def check_on_cpu() -> dict[str, float]:
    """Return what a real step in float32 adds to resident memory, and what the reckoning says."""
    lm, batch_size = CHECK
    build = f"step = Step({lm!r}, 'fp32', 'cpu'); step.run(2)"
    resident = "print(measuring.measure_peak_memory('cpu'))"
    measured = run_child(f"{build}; step.run({batch_size}); {resident}") - run_child(f"{build}; {resident}")
    reckoned = run_child(f"r = reckon({lm!r}, 'fp32'); print(r.reckon_peak({batch_size}) - r.reckon_peak(2))")
    return {"measured": measured, "reckoned": reckoned}


def build_rows(names: Sequence[str], batch_sizes: Sequence[int], precision: str, device: str) -> Iterator[dict]:
    for lm in names:
        if device == "cuda":
            for batch_size in batch_sizes:
                yield {"lm": lm, "batch_size": batch_size, "measured": measure_on_gpu(lm, batch_size, precision)}
            continue
        reckoning = reckon(lm, precision)
        for batch_size in batch_sizes:
            peaks = {"plain": reckoning.reckon_peak(batch_size), "recorded": reckoning.reckon_recorded(batch_size)}
            cards = {size: find_accumulation(reckoning, batch_size, size) for size in CARDS}
            yield {"lm": lm, "batch_size": batch_size, **asdict(reckoning), **peaks, "cards": cards}


def print_row(row: dict[str, Any]) -> None:
    names = ("kept", "plain", "recorded", "measured")
    sizes = ", ".join(f"{name} {row[name] / 2**30:.2f} GiB" for name in names if row.get(name))
    cards = ", ".join(f"{size} GB: {parts or 'too small'}" for size, parts in row.get("cards", {}).items())
    print(
        f"{row['lm']:<10} batch {row['batch_size']:>5}: {sizes or 'too small'}{'; gradient_accumulation: ' * bool(cards)}{cards}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lm", nargs="+", default=["t5-small", "t5-base", "gpt2"], help="language models of configs/lm"
    )
    parser.add_argument("--batch-size", nargs="+", type=int, default=[128, 1024])
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--measured", action="store_true", help="measures on the GPU instead of reckoning")
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "memory_table.json", help="JSON file to write"
    )
    arguments = parser.parse_args()

    device = measuring.find_device() if arguments.measured else "cpu"
    if arguments.measured and device == "cpu":
        raise SystemExit("--measured: there is no GPU. Leave it out")
    rows = []
    for row in build_rows(arguments.lm, arguments.batch_size, arguments.precision, device):
        print_row(row)
        rows.append(row)
    result: dict[str, Any] = {"benchmark": "memory_table", "machine": measuring.describe_machine(device)}
    result |= {"precision": arguments.precision, "target_tokens": TARGET_TOKENS, "rows": rows}
    if not arguments.measured:
        result["check"] = check = check_on_cpu()
        print(
            f"{CHECK[0]}, batch {CHECK[1]}, on the CPU: a step adds {check['measured'] / 2**20:,.0f} MiB to resident memory, "
            f"reckoned {check['reckoned'] / 2**20:,.0f} MiB"
        )
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
