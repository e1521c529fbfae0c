"""Floors of a COCO-size run on a GPU: operations and bytes of each stage, and the least time that they take.

    python benchmarks/floors.py
    python benchmarks/floors.py --tflops 312 --bandwidth 2.0

Operations are counted by PyTorch on fake tensors, which have shapes and no numbers, so nothing is computed and no GPU
is needed. Bytes are those that must pass through the GPU's memory. The defaults are the data sheet of NVIDIA's H100
SXM: 989 TFLOP/s in bf16 without sparsity, and 3.35 TB/s. A stage cannot be faster than the slower of the two.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import measuring
import open_clip
import torch
from check_experiments import build_random_language_model, build_random_network
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.training.train_step import sum_loss

CAPTIONS, EPOCHS = 414_000, 8
# Tokens of a caption for CLIP, of which some are prefixes that no other caption of a batch has (prefix_batches.py), and
# for T5. Five tokens are read by T5's encoder: four of the vector and one constant.
CLIP_TOKENS, CLIP_DISTINCT, T5_TOKENS = 13.5, 10.4, 15
CONTEXT = 77
BEAMS = 5
# Bytes per parameter and step. AdamW reads weight, gradient and two moments, and writes all but the gradient; clipping
# reads the gradient twice and writes it once; the backward pass writes it; the forward pass reads the weight in
# float32 and writes it in bf16, which forward and backward pass read.
UPDATE, CLIPPING, GRADIENT, CASTS = 28, 12, 4, 10
# Bytes per logit: written in bf16, read and written in float32, read twice by the loss, its gradient written and read.
LOGIT = 2 + 2 + 4 + 8 + 4 + 4


@dataclass(frozen=True)
class Stage:
    """Work of a stage, in operations and bytes, and how often a COCO-size run does it."""

    name: str
    operations: float
    num_bytes: float
    times: float

    def find_floor(self, operations_per_second: float, bytes_per_second: float) -> float:
        """Return the least seconds of one time."""
        return max(self.operations / operations_per_second, self.num_bytes / bytes_per_second)


def count_text_tower(architecture: str) -> tuple[float, float]:
    """Return the operations of one token in the text tower, and its parameters without embeddings."""
    with torch.device("meta"), torch.no_grad():
        model = open_clip.create_model(architecture, device="meta")
        with FlopCounterMode(display=False) as counter:
            model.encode_text(torch.zeros(1, CONTEXT, dtype=torch.long))
        layers = sum(parameter.numel() for parameter in model.transformer.parameters())
    return counter.get_total_flops() / CONTEXT, layers


def count_steps(lm: str, batch_sizes: Sequence[int]) -> tuple[list[float], int, int]:
    """Return the operations of a step of each size, forward and backward; the parameters; the size of the vocabulary."""
    config = compose_config("train", TrainConfig, [f"lm={lm}"])
    operations = []
    with FakeTensorMode():
        network = build_random_network(config, build_random_language_model(config.lm), 768)
        for batch_size in batch_sizes:
            none = torch.zeros(batch_size, 0, dtype=torch.long)
            labels = torch.zeros(batch_size, T5_TOKENS, dtype=torch.long)
            inputs = (torch.zeros(batch_size, 768), none, none, labels, torch.arange(batch_size))
            with FlopCounterMode(display=False) as counter:
                logits = network(*inputs, "text", None)
                sum_loss(logits, labels).backward()
            operations.append(counter.get_total_flops())
    return operations, sum(parameter.numel() for parameter in network.parameters()), logits.shape[-1]


def list_stages(lm: str, architecture: str) -> list[Stage]:
    """Return the stages of a COCO-size run."""
    per_token, tower = count_text_tower(architecture)
    # A batch of a thousand captions reads the tower once, and each caption's vector is written.
    encoding = Stage("encode 1,000 captions", 1000 * CLIP_DISTINCT * per_token, 2 * tower, CAPTIONS / 1000)
    stages = [encoding]
    sizes = (128, 1024, 64 * BEAMS)
    counted, parameters, vocabulary = count_steps(lm, sizes)
    for batch_size, operations in zip(sizes[:2], counted[:2], strict=True):
        num_bytes = parameters * (UPDATE + CLIPPING + GRADIENT + CASTS) + LOGIT * batch_size * T5_TOKENS * vocabulary
        times = -(-CAPTIONS // batch_size) * EPOCHS
        stages.append(Stage(f"training step, batch {batch_size}", operations, num_bytes, times))
    # The decoder reads the weights once per token for all beams of a batch; a forward pass is a third of a step.
    decoding = Stage(f"64 captions, beam {BEAMS}", counted[2] / 3, 2 * parameters * T5_TOKENS, 5000 / 64)
    checkpoint = Stage("checkpoint, to the disk", 0, 12 * parameters, 8)
    return [*stages, decoding, checkpoint]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lm", default="t5-base", help="a language model of configs/lm")
    parser.add_argument("--architecture", default="ViT-L-14", help="an architecture of open_clip")
    parser.add_argument("--tflops", type=float, default=989, help="operations of the GPU in bf16, in 10^12 per second")
    parser.add_argument("--bandwidth", type=float, default=3.35, help="bandwidth of its memory, in TB per second")
    parser.add_argument("--output", type=Path, default=measuring.RESULTS / "floors.json", help="JSON file to write")
    arguments = parser.parse_args()

    rows = []
    for stage in list_stages(arguments.lm, arguments.architecture):
        floor = stage.find_floor(arguments.tflops * 1e12, arguments.bandwidth * 1e12)
        rows.append({**asdict(stage), "floor": floor, "floor_of_run": floor * stage.times})
        print(
            f"{stage.name:28} {stage.operations / 1e12:8.3f} TFLOP {stage.num_bytes / 1e9:8.2f} GB, at least {1000 * floor:7.2f} ms; "
            f"{stage.times:>9,.0f} times: {floor * stage.times:7.1f} s"
        )
    measuring.write_result(arguments.output, {"benchmark": "floors", "lm": arguments.lm, "architecture": arguments.architecture,
                                              "tflops": arguments.tflops, "bandwidth": arguments.bandwidth, "stages": rows})  # fmt: skip


if __name__ == "__main__":
    main()
