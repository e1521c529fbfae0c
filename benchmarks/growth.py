"""Memory and time per example of a training on 100,000 and on 1,000,000 captions, and random reads of the embedding cache.

    python benchmarks/growth.py
    python benchmarks/growth.py --sizes 100000 10000000 --output growth_scale.json

Writes distinct captions by textgen's grammar, and does in a process per size what `train_text_only.py data=file` does:
reading, encoding, tokenizing, batching and 100 steps. Prints per stage the CPU time per example and the largest resident
memory, then the growth from the first size to the last. Resident memory counts mapped pages of files too: the
steps read vectors in random order, and the system maps 64 KiB around each. Anonymous memory, read at the end of each
stage, counts only what the system cannot drop. A stand-in encoder draws random vectors, because the speed of encoders is measured
by text_encoding.py. Captions and vectors are deleted at the end (0.6 GB per million captions). Linux only.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import measuring
import numpy as np

from close_transfer.core.arrays import Float32Array

DIM = 128  # width of the vectors, that of Picturebook's encoder
STEPS = 100
GRAMMAR = Path(__file__).parents[1] / "configs/grammars/picturebook.yaml"
READ_ROWS, READ_DIM, READ_SHARD = 200_000, 512, 2048  # vectors of the random reads; rows per file, as the default
READ_BATCHES = (128, 4096)  # rows per read: a training batch, and a block of them
MAX_GROWTH_MIB, MAX_COST_RATIO, MIN_READ_RATIO = 300, 1.1, 0.7  # the goals

T = TypeVar("T")


def write_captions(path: Path, num: int) -> None:
    """Write distinct captions as JSON Lines."""
    from textgen.grammar.grammar import Grammar

    grammar = Grammar.read(GRAMMAR).extend({"text": "{caption}"})
    seen: set[int] = set()
    with path.open("w", encoding="utf-8") as file:
        seed = 0
        while len(seen) < num:
            (item,) = grammar.write(["text"], 1, (), {}, random.Random(seed))
            seed += 1
            if (key := hash(item["text"])) not in seen:
                seen.add(key)
                file.write(json.dumps({"text": item["text"]}) + "\n")


class RandomEncoder:
    """Encoder that draws a group's vectors from the text that the group begins with."""

    name, dim, fingerprint, text_key, image_key = "random", DIM, "0", "0", "0"

    def encode_text_groups(self, groups: Iterable[Sequence[str]]) -> Iterator[Float32Array]:
        for texts in groups:
            rng = np.random.default_rng(list(texts[0].encode()))
            yield rng.standard_normal((len(texts), DIM), dtype=np.float32)

    def count_cut(self, texts: Sequence[str]) -> int:
        return sum(1 for text in texts if len(text) > 1000)


def read_memory(name: str) -> float:
    """Return a line of the process's status in MiB: VmHWM, the largest resident memory, or RssAnon."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Stages:
    """Seconds and memory of each stage."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def run(self, name: str, function: Callable[[], T]) -> T:
        Path("/proc/self/clear_refs").write_text("5")  # resets the largest resident memory
        used, began = time.process_time(), time.perf_counter()
        result = function()
        self.rows.append(
            {
                "stage": name, "cpu_seconds": time.process_time() - used, "wall_seconds": time.perf_counter() - began,
                "peak_mib": read_memory("VmHWM"), "anonymous_mib": read_memory("RssAnon"),
            }
        )  # fmt: skip
        return result


def train(captions: Path, folder: Path) -> list[dict[str, Any]]:
    """Do what a training does, stage by stage; return their seconds and memory."""
    import torch

    from close_transfer.cli import compose_config
    from close_transfer.config.train import TrainConfig
    from close_transfer.modality_gap.adapter_fitting.for_training import choose_noise
    from close_transfer.models.adapters import Statistics
    from close_transfer.training.accelerator import build_accelerator
    from close_transfer.training.build_network import build_network
    from close_transfer.training.run_folder import RunFolder
    from close_transfer.training.trainer import Trainer
    from close_transfer.training.training_data import collect_facts, load_training_data
    from close_transfer.training.transfer_objective import TransferObjective

    settings = [
        "data=file", f"data.path={captions}", "noise=auto", f"train.max_steps={STEPS}", "train.num_validations=1", "device=cpu",
        f"output={folder / 'run'}", f"embedding_cache.folder={folder / 'cache'}",
    ]  # fmt: skip
    config = compose_config("train", TrainConfig, settings)
    accelerator = build_accelerator("cpu", config.train.precision)
    encoder: Any = RandomEncoder()
    run_folder = RunFolder(folder / "run")
    run_folder.path.mkdir()
    stages = Stages()
    data = stages.run("read", lambda: load_training_data(config, "text"))
    scenes = stages.run("encode and store", lambda: data.encode(encoder, config.embedding_cache))
    stages.run("find in the store", lambda: data.encode(encoder, config.embedding_cache))
    statistics = Statistics({})
    noise = stages.run(
        "choose the noise",
        lambda: choose_noise(config, "text", encoder, data.scenes, data.training.examples, statistics),
    )
    torch.manual_seed(0)
    network, tokenizer = stages.run(
        "train the tokenizer",
        lambda: build_network(config, encoder, data.tokenizer_texts, statistics, None, noise.as_dict(), "T0"),
    )
    training, validation = stages.run(
        "tokenize", lambda: data.tokenize(config.task, tokenizer, network.config.text_format["kind"], scenes)
    )

    def describe() -> None:
        collect_facts(data, encoder, network, "")
        data.count_cut_texts(encoder)

    stages.run("fingerprint and count", describe)
    objective = TransferObjective(training, validation, "text", config.train, config.seed)
    trainer = Trainer(network, tokenizer, objective, config.train, config.seed, run_folder, accelerator)
    stages.run(f"batches and {STEPS} steps", lambda: trainer.run(False))
    return stages.rows


def measure_reads() -> tuple[list[dict[str, float]], int]:
    """Read random rows from a matrix in files and, in turn, from the same matrix in memory; return both rates per round."""
    from close_transfer.encoders.embedding_cache import EmbeddingMatrix

    rng = np.random.default_rng(0)
    in_memory = rng.standard_normal((READ_ROWS, READ_DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name, f"{start}.npy") for start in range(0, READ_ROWS, READ_SHARD)]
        for number, path in enumerate(paths):
            np.save(path, in_memory[number * READ_SHARD : (number + 1) * READ_SHARD])
        matrix = EmbeddingMatrix([np.load(path, mmap_mode="r") for path in paths])
        assert np.array_equal(matrix.gather(np.arange(READ_ROWS)), in_memory)  # this also maps every page
        rounds = []
        for _ in range(7):
            one = {}
            for size in READ_BATCHES:
                batches = [rng.integers(0, READ_ROWS, size) for _ in range(40_000 // size)]
                seconds = {}
                for side, read in (("memory", lambda rows: np.take(in_memory, rows, axis=0)), ("cache", matrix.gather)):
                    used = time.process_time()
                    for rows in batches:
                        read(rows)
                    seconds[side] = time.process_time() - used
                    one[f"{side}, us per row of {size}"] = 1e6 * seconds[side] / (size * len(batches))
                one[f"ratio of {size}"] = seconds["memory"] / seconds["cache"]
            rounds.append(one)
    return rounds, len(paths)


def run_size(size: int, folder: Path) -> list[dict[str, Any]]:
    """Train on this many captions in a new process."""
    captions, result = folder / f"{size}.jsonl", folder / f"{size}.json"
    began = time.perf_counter()
    write_captions(captions, size)
    print(f"wrote {size:,} captions in {time.perf_counter() - began:.0f} s", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, __file__, "--stages", captions, "--output", result], env=environment, check=True)
    captions.unlink()
    return json.loads(result.read_text())


def print_stages(stages: dict[int, list[dict[str, Any]]]) -> None:
    """Print a row per stage, with the CPU time per example and the largest resident memory of each size."""
    print("| stage |" + "".join(f" {size:,}: us per example | peak MiB | anonymous MiB |" for size in stages))
    for rows in zip(*stages.values(), strict=True):
        cells = [
            f" {1e6 * row['cpu_seconds'] / size:.1f} | {row['peak_mib']:,.0f} | {row['anonymous_mib']:,.0f} |"
            for size, row in zip(stages, rows, strict=True)
        ]
        print(f"| {rows[0]['stage']} |" + "".join(cells))


def summarize_growth(stages: dict[int, list[dict[str, Any]]]) -> dict[str, float]:
    """Return the growth from the first size to the last: of the memory, and of the cost per example before the steps."""
    first, last = min(stages), max(stages)
    costs = {size: sum(row["cpu_seconds"] for row in rows[:-1]) / size for size, rows in stages.items()}
    peaks = {size: max(row["peak_mib"] for row in rows) for size, rows in stages.items()}
    anonymous = {size: max(row["anonymous_mib"] for row in rows) for size, rows in stages.items()}
    return {
        "peak_growth_mib": peaks[last] - peaks[first],
        "peak_growth_before_steps_mib": max(row["peak_mib"] for row in stages[last][:-1])
        - max(row["peak_mib"] for row in stages[first][:-1]),
        "anonymous_growth_mib": anonymous[last] - anonymous[first],
        "cost_ratio": costs[last] / costs[first],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="numbers of captions")
    parser.add_argument("--stages", type=Path, help=argparse.SUPPRESS)  # captions that this process trains on
    parser.add_argument("--output", type=Path, default=measuring.RESULTS / "growth.json", help="JSON file to write")
    arguments = parser.parse_args()
    if arguments.stages:
        with tempfile.TemporaryDirectory(dir=arguments.stages.parent) as name:
            arguments.output.write_text(json.dumps(train(arguments.stages, Path(name))))
        return
    reads, num_files = measure_reads()
    read_summary = measuring.summarize(reads)
    print(
        f"random reads from {num_files} files of {READ_SHARD:,} vectors of width {READ_DIM} (goal: {MIN_READ_RATIO}):"
    )
    measuring.print_summary(read_summary)
    measuring.RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=measuring.RESULTS) as name:
        stages = {size: run_size(size, Path(name)) for size in sorted(arguments.sizes)}
    print_stages(stages)
    growth = summarize_growth(stages)
    print(
        f"growth of memory in MiB (goal: {MAX_GROWTH_MIB}): {growth['anonymous_growth_mib']:,.0f} anonymous; with mapped vectors "
        f"{growth['peak_growth_mib']:,.0f} at the peak, {growth['peak_growth_before_steps_mib']:,.0f} before the steps"
    )
    print(f"CPU time per example before the steps: {growth['cost_ratio']:.2f} times (goal: {MAX_COST_RATIO})")
    result = {
        "benchmark": "growth", "machine": measuring.describe_machine("cpu"), "stages": stages, "growth": growth,
        "read_summary": read_summary, "read_rounds": reads,
    }  # fmt: skip
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
