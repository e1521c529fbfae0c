"""Speed of the training step, compared with the loop as it was before (reference_loop.py).

    python benchmarks/training_step.py
    python benchmarks/training_step.py --lm t5-base --batch-size 1024 --output training_step.json

Both sides train the same network from the same weights on the same batches, in one process in turn: on a GPU T5-base, on
a CPU the small T5. Weights and vectors are random, which is enough for timing. There is no noise and no dropout, so the
losses of both sides, compared after each round, differ by rounding alone. The first steps, in which a GPU's CUDA graphs
are recorded, are timed apart.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import measuring
import numpy as np
import torch
from check_experiments import build_random_language_model
from reference_loop import ReferenceLoop

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import IntArray
from close_transfer.data.examples import Example
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders.embedding_cache import EmbeddingMatrix
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.language_models import END_TOKEN
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.models.prompt_format import TextFormat
from close_transfer.models.saved_config import SavedNoise, SavedTextFormat
from close_transfer.training.accelerator import build_accelerator, build_optimizer
from close_transfer.training.batch_order import iterate_batches
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.transfer_objective import TransferObjective

DIM, NUM_SCENES, VOCABULARY, MAX_TOKENS = 768, 2000, 8000, 64
LEARNING_RATE = 3e-4
DEFAULTS = {"cpu": ("t5-mini", 10), "cuda": ("t5-base", 100)}  # language model, steps per round


def build_network(config: TrainConfig, dim: int = DIM) -> TransferNetwork:
    """Build a network with random weights, without dropout: both sides draw it differently."""
    model = build_random_language_model(config.lm)
    model.config.dropout_rate = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    is_t5 = bool(model.config.is_encoder_decoder)
    return TransferNetwork(
        TransferConfig(
            encoder={"name": "random", "dim": dim, "fingerprint": "", "config": {}},
            adapter=[{"name": "gaussian"}],
            mapper=config.mapper.model_dump(),
            # None, because the two sides draw from other generators on a GPU.
            noise=cast(SavedNoise, NoiseScale(0.0, dim).as_dict()),
            lm=model.config.to_dict(),
            text_format=cast(SavedTextFormat, {"kind": "encoder-decoder" if is_t5 else "decoder-only", "before": []}),
        ),
        model,
    )


def build_examples() -> tuple[TokenizedExamples, SceneVectors, list[list[int]]]:
    """Return examples without prompts, their vectors, and the token ids of each example's only target."""
    texts = [caption.text for scene in scenes("train", NUM_SCENES) for caption in captions(scene)]
    row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors = np.random.default_rng(0).standard_normal((len(row_of), DIM), dtype=np.float32)
    matrix = EmbeddingMatrix([vectors])
    rows = np.array([row_of[text] for text in texts])
    found = SceneVectors(matrix, rows, np.arange(len(rows) + 1))
    examples = [Example(str(row), (text,), targets=(text,)) for row, text in enumerate(texts)]
    text_format = TextFormat(train_bpe(texts, VOCABULARY, end_token=END_TOKEN), "encoder-decoder")
    targets = [ids for ids, _ in text_format.encode_targets(texts, MAX_TOKENS, [""] * len(texts))]
    tokenized = TokenizedExamples(examples, found, text_format, MAX_TOKENS, MAX_TOKENS, lowercase_targets=False)
    return tokenized, found, targets


def run_round(
    sides: Mapping[str, Callable[[int, list[IntArray]], float]], step: int, batches: list[IntArray], kind: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Train both sides on the same batches in turn; return their seconds and their losses after the last batch."""
    seconds, losses = {}, {}
    for side, train in sides.items():
        measuring.wait_for(kind)
        began = time.perf_counter()
        losses[side] = train(step, batches)
        measuring.wait_for(kind)
        seconds[side] = time.perf_counter() - began
    return seconds, losses


def main() -> None:
    kind = measuring.find_device()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lm", default=DEFAULTS[kind][0], help="a language model of configs/lm")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=DEFAULTS[kind][1], help="steps per round of either side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "training_step.json", help="JSON file to write"
    )
    arguments = parser.parse_args()

    settings = [
        f"lm={arguments.lm}",
        f"train.batch_size={arguments.batch_size}",
        f"train.precision={arguments.precision}",
    ]
    config = compose_config("train", TrainConfig, [*settings, f"device={kind}"])
    accelerator = build_accelerator(kind, config.train.precision)
    device = accelerator.device
    examples, found, targets = build_examples()
    network = build_network(config)
    reference = ReferenceLoop(
        copy.deepcopy(network).to(device), found.matrix.gather(found.rows), [[]] * len(targets),
        [[target] for target in targets], accelerator, learning_rate=LEARNING_RATE,
    )  # fmt: skip
    examples.hold_vectors_on(device)
    objective = TransferObjective(examples, examples, "text", config.train, seed=0)
    uses_graphs = device.type == "cuda"
    network.to(device)
    optimizer = build_optimizer(network, LEARNING_RATE, 0.0, device, uses_graphs)
    model, wrapped = accelerator.prepare(network, optimizer)
    runner = StepRunner(model, wrapped.optimizer, accelerator, objective, config.train, uses_graphs=uses_graphs)

    def train_before(step: int, batches: list[IntArray]) -> float:
        return [reference.step(step + number, rows) for number, rows in enumerate(batches)][-1]

    def train_now(step: int, batches: list[IntArray]) -> float:
        for number, rows in enumerate(batches):
            runner.run(step + number, rows, LEARNING_RATE)
            if (number + 1) % config.train.log_every == 0:
                runner.look()  # as the trainer does for its log
        return runner.look()["loss"]

    num_warm = 10 * arguments.steps if uses_graphs else 2
    num_steps = num_warm + arguments.rounds * arguments.steps
    batches = list(iterate_batches(examples.compute_lengths(), arguments.batch_size, 0, 0, num_steps))
    sides = {"before": train_before, "now": train_now}
    with runner.stream():
        warm, warm_losses = run_round(sides, 0, batches[:num_warm], kind)
        rounds, losses = [], [warm_losses]
        for start in range(num_warm, num_steps, arguments.steps):
            seconds, round_losses = run_round(sides, start, batches[start : start + arguments.steps], kind)
            milliseconds = {f"{side}, ms per step": 1000 * value / arguments.steps for side, value in seconds.items()}
            rounds.append({**milliseconds, "ratio": seconds["before"] / seconds["now"]})
            losses.append(round_losses)
    differences = [abs(one["before"] - one["now"]) / one["before"] for one in losses]
    summary = measuring.summarize(rounds)
    print(
        f"{arguments.lm}, batch {arguments.batch_size}, on {measuring.name_device(kind)}; {len(rounds)} rounds of {arguments.steps} steps"
    )
    measuring.print_summary(summary)
    print(f"first {num_warm} steps now: {warm['now']:.1f} s")
    print(f"mean difference of the loss: {statistics.mean(differences):.2e} of it")
    print(f"peak memory of both sides: {measuring.measure_peak_memory(kind) / 2**20:,.0f} MiB")
    result = {
        "benchmark": "training_step", "machine": measuring.describe_machine(kind), "lm": arguments.lm,
        "batch_size": arguments.batch_size, "precision": arguments.precision, "steps_per_round": arguments.steps,
        "summary": summary, "rounds": rounds, "losses": losses, "mean_difference_of_loss": statistics.mean(differences),
        "warm_up_seconds": warm, "warm_up_steps": num_warm, "peak_memory_bytes": measuring.measure_peak_memory(kind),
    }  # fmt: skip
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
