"""Time of a COCO-size run: 414,000 captions, eight epochs in batches of 128, from captions to the last checkpoint.

    python benchmarks/coco_run.py
    python benchmarks/coco_run.py --lm t5-small --output coco_run.json

Every part is measured on a piece of the run, and the whole is reckoned from the rates: importing, building the models,
tokenizing, encoding with ViT-L/14 into the cache, counting texts that are too long for it, the first steps with the
recordings of CUDA graphs, the other steps, validations and checkpoints. A GPU trains T5-base for 1,700 steps; a CPU
tries the same with the small T5 and few captions, which says nothing about T5-base. Weights are random and captions are
COCO's val2017 or Picturebook's.

The losses of the first steps are compared with those of an eager loop in float32 (reference_loop.py), which starts
from the same weights and has the same batches. There is no noise and no dropout, because the two draw differently.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import measuring
import numpy as np
import psutil
import torch
from accelerate import Accelerator
from reference_loop import ReferenceLoop
from training_step import LEARNING_RATE, MAX_TOKENS, VOCABULARY, build_network

from close_transfer.cli import compose_config
from close_transfer.config.components import EmbeddingCacheConfig, OpenClipConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import IntArray
from close_transfer.data.examples import Example
from close_transfer.encoders.embeddings import SceneVectors, encode_texts
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.language_models import END_TOKEN
from close_transfer.models.prompt_format import TextFormat
from close_transfer.training.accelerator import build_accelerator, build_optimizer, uses_graphs_on
from close_transfer.training.batch_order import iterate_batches
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.run_folder import RunFolder, TrainingState
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.transfer_objective import TransferObjective

CAPTIONS, EPOCHS, BATCH = 414_000, 8, 128
STEPS = -(-CAPTIONS // BATCH) * EPOCHS
Result = TypeVar("Result")


@dataclass(frozen=True)
class Size:
    """Size of the measured piece: language model, captions, compared first steps, other steps."""

    lm: str
    captions: int
    compared: int
    steps: int


DEFAULTS = {"cpu": Size("t5-mini", 300, 5, 20), "cuda": Size("t5-base", 25_000, 200, 1500)}


class EagerFloat32:
    """Stand-in for an accelerator that computes in float32 and wraps nothing; a process has one real accelerator."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def prepare(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[torch.nn.Module, Any]:
        return model, SimpleNamespace(optimizer=optimizer)

    def autocast(self) -> AbstractContextManager[None]:
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


class Clock:
    """Seconds of each part."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}

    def measure(self, part: str, function: Callable[[], Result]) -> Result:
        measuring.wait_for(self._device)
        began = time.perf_counter()
        result = function()
        measuring.wait_for(self._device)
        self.seconds[part] = time.perf_counter() - began
        return result


class Run:
    """Piece of a COCO-size run, whose parts are done one after the other on a clock."""

    def __init__(self, size: Size, kind: str, architecture: str, clock: Clock, folder: Path) -> None:
        self.size, self.clock, self.folder = size, clock, folder
        _, groups = measuring.read_captions_by_image()
        self.texts = list(dict.fromkeys(text for group in groups for text in group))[: size.captions]
        self.config = compose_config("train", TrainConfig, [
            f"lm={size.lm}", f"train.batch_size={BATCH}", f"device={kind}", f"embedding_cache.folder={folder}/embeddings",
            "clip=open_clip", f"clip.model={architecture}", "clip.pretrained=random", f"output={folder}/run",
        ])  # fmt: skip
        self.accelerator: Accelerator = build_accelerator(kind, self.config.train.precision)
        self.device = self.accelerator.device

    def encode(self) -> SceneVectors:
        """Encode all captions into the cache; the encoder is built and warmed up before."""
        assert isinstance(self.config.clip, OpenClipConfig)
        clip, kind = self.config.clip, self.device.type
        encoder = self.clock.measure("build the encoder", lambda: OpenClipEncoder(clip, kind))
        encoder.encode_texts(self.texts[:64])
        self.clock.measure("count cut texts", lambda: encoder.count_cut(self.texts))
        cache: EmbeddingCacheConfig = self.config.embedding_cache
        matrix, rows = self.clock.measure("encode", lambda: encode_texts(encoder, self.texts, cache))
        return SceneVectors(matrix, rows, np.arange(len(rows) + 1))

    def tokenize(self, scenes: SceneVectors) -> TokenizedExamples:
        self.tokenizer = train_bpe(self.texts, VOCABULARY, end_token=END_TOKEN)
        text_format = TextFormat(self.tokenizer, "encoder-decoder")
        examples = [Example(str(row), (text,), targets=(text,)) for row, text in enumerate(self.texts)]
        self.targets = [ids for ids, _ in text_format.encode_targets(self.texts, MAX_TOKENS, [""] * len(self.texts))]
        return self.clock.measure(
            "tokenize",
            lambda: TokenizedExamples(examples, scenes, text_format, MAX_TOKENS, MAX_TOKENS, lowercase_targets=False),
        )

    def train(self, scenes: SceneVectors, examples: TokenizedExamples) -> list[float]:
        """Train, validate and save; return the share by which each compared loss differs from the reference's."""
        size, device, loop = self.size, self.device, self.config.train
        network = build_network(self.config, scenes.matrix.dim)
        reference = copy.deepcopy(network).to(device)
        self.clock.measure("move the network", lambda: network.to(device))
        examples.hold_vectors_on(device)
        uses_graphs = uses_graphs_on(loop, STEPS, self.accelerator)
        optimizer = build_optimizer(network, LEARNING_RATE, 0.0, device, uses_graphs)
        model, wrapped = self.accelerator.prepare(network, optimizer)
        objective = TransferObjective(examples, examples, "text", loop, seed=0)
        runner = StepRunner(model, wrapped.optimizer, self.accelerator, objective, loop, uses_graphs=uses_graphs)
        num_steps = size.compared + size.steps
        batches = list(iterate_batches(examples.compute_lengths(), BATCH, 0, 0, num_steps))

        def run_steps(first: int, batches: Sequence[IntArray], look_every: int) -> list[float]:
            losses = []
            for number, rows in enumerate(batches):
                runner.run(first + number, rows, LEARNING_RATE)
                if (number + 1) % look_every == 0:
                    losses.append(runner.look()["loss"])
            return losses

        with runner.stream():
            losses = self.clock.measure("first steps", lambda: run_steps(0, batches[: size.compared], 1))
            rest = batches[size.compared :]
            self.clock.measure("steps", lambda: run_steps(size.compared, rest, loop.log_every))
            model.eval()
            with torch.no_grad():
                self.clock.measure("validation", lambda: objective.validate(network, num_steps, self.accelerator))
        run_folder = RunFolder(self.folder / "run")
        (run_folder.path / "checkpoints").mkdir(parents=True)
        run_folder.log({"step": num_steps, "loss": losses[-1]})
        state = TrainingState(num_steps, num_steps, losses[-1])
        self.clock.measure(
            "checkpoint", lambda: run_folder.save(network, self.tokenizer, wrapped.optimizer, state, None)
        )
        self.num_validated = min(len(examples), loop.max_val_examples)
        return self._compare(reference, scenes, losses, batches)

    def _compare(
        self, network: Any, scenes: SceneVectors, losses: Sequence[float], batches: Sequence[IntArray]
    ) -> list[float]:
        vectors = scenes.matrix.gather(scenes.rows)
        eager = cast(Accelerator, EagerFloat32(self.device))
        targets = [[target] for target in self.targets]
        loop = ReferenceLoop(network, vectors, [[]] * len(targets), targets, eager, learning_rate=LEARNING_RATE)
        expected = [loop.step(step, batches[step]) for step in range(len(losses))]
        return [abs(loss - other) / other for loss, other in zip(losses, expected, strict=True)]


def reckon(seconds: dict[str, float], size: Size, num_captions: int, num_validated: int, loop: Any) -> dict[str, float]:
    """Return the seconds of each part of the whole run."""
    share = CAPTIONS / num_captions
    validations = loop.num_validations
    return {
        "start": seconds["start"],
        "build the models": seconds["build the encoder"] + seconds["move the network"],
        "tokenize": seconds["tokenize"] * share,
        "count cut texts": seconds["count cut texts"] * share,
        "encode": seconds["encode"] * share,
        "first steps": seconds["first steps"],
        "other steps": seconds["steps"] / size.steps * (STEPS - size.compared),
        "validations": seconds["validation"] * loop.max_val_examples / num_validated * validations,
        "checkpoints": seconds["checkpoint"] * validations,  # one follows each validation
    }


def main() -> None:
    kind = measuring.find_device()
    defaults = DEFAULTS[kind]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lm", default=defaults.lm, help="a language model of configs/lm")
    parser.add_argument("--architecture", default="ViT-L-14", help="an architecture of open_clip")
    parser.add_argument("--captions", type=int, default=defaults.captions, help="captions of the measured piece")
    parser.add_argument("--compared", type=int, default=defaults.compared, help="first steps, compared with float32")
    parser.add_argument("--steps", type=int, default=defaults.steps, help="measured steps after the first ones")
    parser.add_argument("--output", type=Path, default=measuring.RESULTS / "coco_run.json", help="JSON file to write")
    arguments = parser.parse_args()

    size = Size(arguments.lm, arguments.captions, arguments.compared, arguments.steps)
    clock = Clock(kind)
    clock.seconds["start"] = time.time() - psutil.Process().create_time()  # mostly imports
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.output.parent) as folder:
        run = Run(size, kind, arguments.architecture, clock, Path(folder))
        scenes = run.encode()
        differences = run.train(scenes, run.tokenize(scenes))
    parts = reckon(clock.seconds, size, len(run.texts), run.num_validated, run.config.train)
    rates = {
        "captions tokenized per second": len(run.texts) / clock.seconds["tokenize"],
        "captions encoded per second": len(run.texts) / clock.seconds["encode"],
        "ms per step": 1000 * clock.seconds["steps"] / size.steps,
        "s per validation": clock.seconds["validation"],
        "s per checkpoint": clock.seconds["checkpoint"],
    }
    total = sum(parts.values())
    print(f"{size.lm} after {arguments.architecture}, {STEPS:,} steps of {BATCH}, on {measuring.name_device(kind)}")
    print(f"measured: {len(run.texts):,} captions, {size.steps:,} steps after the first {size.compared}")
    for name, value in rates.items():
        print(f"{name:30} {value:,.4g}")
    for name, value in parts.items():
        print(f"{name:30} {value / 60:8.2f} minutes reckoned")
    print(f"{'the whole run':30} {total / 60:8.2f} minutes reckoned")
    print(
        f"mean difference of the loss to eager float32 over {size.compared} steps: {statistics.mean(differences):.2e} of it"
    )
    print(f"peak memory: {measuring.measure_peak_memory(kind) / 2**20:,.0f} MiB")
    measuring.write_result(arguments.output, {
        "benchmark": "coco_run", "machine": measuring.describe_machine(kind), "lm": size.lm,
        "architecture": arguments.architecture, "captions": len(run.texts), "steps": size.steps, "compared": size.compared,
        "seconds": clock.seconds, "rates": rates, "reckoned_seconds": parts, "reckoned_minutes": total / 60,
        "differences_of_loss": differences, "mean_difference_of_loss": statistics.mean(differences),
        "peak_memory_bytes": measuring.measure_peak_memory(kind),
    })  # fmt: skip


if __name__ == "__main__":
    main()
