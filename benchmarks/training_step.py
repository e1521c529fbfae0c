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
from pathlib import Path
from typing import cast

import numpy as np
import torch
from check_experiments import build_random_language_model
from measuring import (
    RESULTS,
    describe_machine,
    find_device,
    measure_peak_memory,
    name_device,
    print_summary,
    summarize,
    wait_for,
    write_result,
)
from reference_loop import ReferenceLoop

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
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
from close_transfer.training.accelerator import build_accelerator
from close_transfer.training.batch_order import iterate_batches
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.transfer_objective import TransferObjective

DIM, NUM_SCENES, VOCABULARY = 768, 2000, 8000
LEARNING_RATE = 3e-4
DEFAULTS = {"cpu": ("t5-mini", 10), "cuda": ("t5-base", 100)}  # language model, steps per round


def build_network(config: TrainConfig) -> TransferNetwork:
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
            encoder={"name": "random", "dim": DIM, "fingerprint": "", "config": {}},
            adapter=[{"name": "gaussian"}],
            mapper=config.mapper.model_dump(),
            # None, because the two sides draw from other generators on a GPU.
            noise=cast(SavedNoise, NoiseScale(0.0, DIM).as_dict()),
            lm=model.config.to_dict(),
            text_format=cast(SavedTextFormat, {"kind": "encoder-decoder" if is_t5 else "decoder-only", "before": []}),
        ),
        model,
    )


def build_examples() -> tuple[TokenizedExamples, SceneVectors]:
    texts = [caption.text for scene in scenes("train", NUM_SCENES) for caption in captions(scene)]
    distinct = list(dict.fromkeys(texts))
    vectors = np.random.default_rng(0).standard_normal((len(distinct), DIM), dtype=np.float32)
    matrix = EmbeddingMatrix([vectors], {text: row for row, text in enumerate(distinct)})
    rows = np.array([matrix.row_of[text] for text in texts])
    found = SceneVectors(matrix, rows, np.arange(len(rows) + 1))
    examples = [Example(str(row), (text,), targets=(text,)) for row, text in enumerate(texts)]
    text_format = TextFormat(train_bpe(texts, VOCABULARY, end_token=END_TOKEN), "encoder-decoder")
    return TokenizedExamples(examples, found, text_format, 8, 64, lowercase_targets=False), found


def main() -> None:
    kind = find_device()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lm", default=DEFAULTS[kind][0], help="a language model of configs/lm")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=DEFAULTS[kind][1], help="steps per round of either side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--output", type=Path, default=RESULTS / "training_step.json", help="JSON file to write")
    arguments = parser.parse_args()

    settings = [
        f"lm={arguments.lm}",
        f"train.batch_size={arguments.batch_size}",
        f"train.precision={arguments.precision}",
    ]
    config = compose_config("train", TrainConfig, [*settings, f"device={kind}"])
    accelerator = build_accelerator(kind, config.train.precision)
    device = accelerator.device
    examples, found = build_examples()
    network = build_network(config)
    reference = ReferenceLoop(
        copy.deepcopy(network).to(device), found.matrix.gather(found.rows), examples.list_prompts(), examples.list_targets(),
        accelerator, learning_rate=LEARNING_RATE,
    )  # fmt: skip
    examples.hold_vectors_on(device)
    objective = TransferObjective(examples, examples, "text", config.train, seed=0)
    uses_graphs = device.type == "cuda"
    rate = torch.tensor(LEARNING_RATE, device=device) if uses_graphs else LEARNING_RATE
    network.to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=rate, weight_decay=0.0, fused=uses_graphs, capturable=uses_graphs
    )
    model, wrapped = accelerator.prepare(network, optimizer)
    runner = StepRunner(model, wrapped.optimizer, accelerator, objective, config.train, uses_graphs=uses_graphs)

    num_warm = 10 * arguments.steps if uses_graphs else 2
    num_steps = num_warm + arguments.rounds * arguments.steps
    batches = iterate_batches(examples.compute_lengths(), arguments.batch_size, 0, 0, num_steps)
    losses: dict[str, list[float]] = {"before": [], "now": []}
    rounds: list[dict[str, float]] = []
    warm_seconds = 0.0
    step = 0
    with runner.stream():
        while step < num_steps:
            batch_rows = [next(batches) for _ in range(num_warm if step == 0 else arguments.steps)]
            seconds = {}
            for side in losses:
                wait_for(kind)
                began = time.perf_counter()
                loss = 0.0
                for number, rows in enumerate(batch_rows):
                    if side == "before":
                        loss = reference.step(step + number, rows)
                        continue
                    runner.run(step + number, rows, LEARNING_RATE)
                    if (number + 1) % config.train.log_every == 0:
                        runner.look()
                losses[side].append(loss if side == "before" else runner.look()["loss"])
                wait_for(kind)
                seconds[side] = (time.perf_counter() - began) / len(batch_rows)
            if step == 0:
                warm_seconds = seconds["now"] * len(batch_rows)
            else:
                milliseconds = {f"{side}, ms per step": 1000 * value for side, value in seconds.items()}
                rounds.append({**milliseconds, "ratio": seconds["before"] / seconds["now"]})
            step += len(batch_rows)
    differences = [abs(a - b) / a for a, b in zip(losses["before"], losses["now"], strict=True)]
    summary = summarize(rounds)
    print(
        f"{arguments.lm}, batch {arguments.batch_size}, on {name_device(kind)}; {len(rounds)} rounds of {arguments.steps} steps"
    )
    print_summary(summary)
    print(f"first {num_warm} steps now: {warm_seconds:.1f} s")
    print(f"mean difference of the loss: {statistics.mean(differences):.2e} of it")
    print(f"peak memory of both sides: {measure_peak_memory(kind) / 2**20:,.0f} MiB")
    result = {
        "benchmark": "training_step", "machine": describe_machine(kind), "lm": arguments.lm,
        "batch_size": arguments.batch_size, "precision": arguments.precision, "steps_per_round": arguments.steps,
        "summary": summary, "rounds": rounds, "losses": losses, "mean_difference_of_loss": statistics.mean(differences),
        "warm_up_seconds": warm_seconds, "warm_up_steps": num_warm, "peak_memory_bytes": measure_peak_memory(kind),
    }  # fmt: skip
    write_result(arguments.output, result)


if __name__ == "__main__":
    main()
