"""Cost of eight epochs, next to the ways of the public code of CLOSE and of CapDec.

    python benchmarks/training_epochs.py
    python benchmarks/training_epochs.py --clip ViT-L-14 --lm t5-base --output training_epochs.json

Both sides of a comparison take steps of the same number of captions in turn, in one process, with random weights and
without dropout. The seconds per caption of eight epochs are then reckoned: those of what happens once, and eight times
those of a step. A run of any length is proportional to them; start, validation and checkpoints are left out on all sides.

here: the package encodes each caption once (all captions of a round in one call), then takes its steps on batches sorted
by length: in each round as many short as long ones, so that a round's captions have about the mean length.
CLOSE's way: each step encodes its captions with open_clip at full context, because vectors are not stored, and trains the
same T5 on a random batch padded to its longest caption. The batch is that of CLOSE's public code for single captions, 128
(`default_batch_size` in close/experiments/train.py of github.com/allenai/close).
CapDec's way: vectors are stored too. The mapper is a transformer over 40 tokens of the vector and 40 constants, so GPT-2
reads 40 tokens before each caption, and every caption is padded to one length (CapDec's: the longest, but at most the
mean and ten standard deviations). The batch is that of its public code for COCO, 30 (`args.bs` in train.py of
github.com/DavidHuji/CapDec). "here" trains the same GPT-2 with four tokens from a linear layer, in sorted batches.
The sizes and rules of both ways follow their public code; the modules, except open_clip, are this package's, and their loop is reference_loop.py.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import open_clip
import torch
from reference_loop import ReferenceLoop
from training_step import DIM, LEARNING_RATE, MAX_TOKENS, VOCABULARY, build_network

from close_transfer.cli import compose_config
from close_transfer.config.components import OpenClipConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import IntArray
from close_transfer.data.examples import Example
from close_transfer.encoders.embedding_cache import EmbeddingMatrix
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.language_models import END_TOKEN
from close_transfer.models.prompt_format import TextFormat
from close_transfer.training.accelerator import build_accelerator, build_optimizer
from close_transfer.training.batch_order import make_epoch_batches
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.transfer_objective import TransferObjective

EPOCHS = 8
CLOSE_BATCH, CAPDEC_BATCH = 128, 30  # of their public code
FULL_CONTEXT_BATCH = 32

Step = Callable[[int], Any]


def compose(lm: str, size: int, *settings: str) -> TrainConfig:
    return compose_config(
        "train", TrainConfig, [f"lm={lm}", f"train.batch_size={size}", "device=cpu", "train.precision=fp32", *settings]
    )


def measure_in_turn(sides: Mapping[str, tuple[Step, int]], round_number: int) -> dict[str, float]:
    """Let each side take its number of steps in turn, and return the mean seconds of a step."""
    seconds = {}
    for side, (step, num_steps) in sides.items():
        began = time.perf_counter()
        for number in range(round_number * num_steps, (round_number + 1) * num_steps):
            step(number)
        seconds[side] = (time.perf_counter() - began) / num_steps
    return seconds


def choose_batches(lengths: IntArray, size: int, num_pairs: int) -> list[IntArray]:
    """Return sorted batches of an epoch: pairs of a short and a long one, so that each pair has about the mean length."""
    batches = [rows for rows in make_epoch_batches(lengths, size, 0, 0) if len(rows) == size]
    batches.sort(key=lambda rows: float(lengths[rows].mean()))
    places = (np.arange(num_pairs) + 0.5) / num_pairs * (len(batches) // 2)
    return [batch for place in places.astype(int) for batch in (batches[place], batches[-1 - place])]


def build_step(config: TrainConfig, texts: Sequence[str], num_pairs: int) -> Step:
    """Return the package's step on sorted batches of these captions."""
    network = build_network(config)
    text_format = TextFormat(train_bpe(texts, VOCABULARY, END_TOKEN), network.config.text_format["kind"])
    vectors = np.random.default_rng(0).standard_normal((len(texts), DIM), dtype=np.float32)
    matrix = EmbeddingMatrix([vectors])
    found = SceneVectors(matrix, np.arange(len(texts)), np.arange(len(texts) + 1))
    examples = TokenizedExamples(
        [Example(text, (text,), targets=(text,)) for text in texts], found, text_format, MAX_TOKENS, MAX_TOKENS,
        lowercase_targets=True,
    )  # fmt: skip
    accelerator = build_accelerator("cpu", "fp32")
    optimizer = build_optimizer(network, LEARNING_RATE, 0.0, accelerator.device, uses_graphs=False)
    model, wrapped = accelerator.prepare(network, optimizer)
    objective = TransferObjective(examples, examples, "text", config.train, seed=0)
    runner = StepRunner(model, wrapped.optimizer, accelerator, objective, config.train)
    batches = choose_batches(examples.compute_lengths(), config.train.batch_size, num_pairs)
    return lambda number: runner.run(number, batches[number], LEARNING_RATE)


def build_public_step(
    config: TrainConfig, texts: Sequence[str], batches: Sequence[IntArray], has_fixed_length: bool
) -> Step:
    """Return the step of the public ways on random batches, padded to the longest caption of the batch or of all."""
    network = build_network(config)
    text_format = TextFormat(train_bpe(texts, VOCABULARY, END_TOKEN), network.config.text_format["kind"])
    targets = [ids for ids, _ in text_format.encode_targets([t.lower() for t in texts], MAX_TOKENS, [""] * len(texts))]
    if has_fixed_length:
        lengths = np.array([len(ids) for ids in targets])
        length = int(min(lengths.mean() + 10 * lengths.std(), lengths.max()))
        # Padding is computed like any token. Only the loss leaves it out, which takes no time.
        targets = [(ids + [0] * length)[:length] for ids in targets]
    vectors = np.random.default_rng(0).standard_normal((len(texts), DIM), dtype=np.float32)
    loop = ReferenceLoop(
        network, vectors, [[]] * len(texts), [[ids] for ids in targets], build_accelerator("cpu", "fp32"),
        learning_rate=LEARNING_RATE,
    )  # fmt: skip
    return lambda number: loop.step(number, batches[number])


def encode_padded(encoder: OpenClipEncoder, tokenizer: Any, texts: Sequence[str]) -> None:
    """Encode as a loop over batches of open_clip: every text at full context."""
    with torch.inference_mode():
        for start in range(0, len(texts), FULL_CONTEXT_BATCH):
            encoder._model.encode_text(tokenizer(texts[start : start + FULL_CONTEXT_BATCH], encoder.context_length))


def compare_close(
    clip: str, lm: str, texts: list[str], batches: Sequence[IntArray], num_rounds: int
) -> list[dict[str, float]]:
    """Compare with CLOSE's way: seconds per caption."""
    size, num_steps = len(batches[0]), len(batches) // (num_rounds + 1)
    config = compose(lm, size, "clip=open_clip", f"clip.model={clip}", "clip.pretrained=random")
    assert isinstance(config.clip, OpenClipConfig)
    encoder = OpenClipEncoder(config.clip, "cpu")
    tokenizer = open_clip.get_tokenizer(clip)
    train = build_public_step(config, texts, batches, has_fixed_length=False)

    def step_and_encode(number: int) -> None:
        encode_padded(encoder, tokenizer, [texts[row] for row in batches[number]])
        train(number)

    sides = {
        "CLOSE's way": (step_and_encode, num_steps),
        "here": (build_step(config, texts, len(batches)), 2 * num_steps),
    }
    rounds = []
    for number in range(num_rounds + 1):
        seconds = measure_in_turn(sides, number)
        rows = np.concatenate(batches[number * num_steps : (number + 1) * num_steps])
        began = time.perf_counter()
        list(encoder.encode_text_groups([[texts[row] for row in rows]]))
        once = (time.perf_counter() - began) / len(rows)
        steps = {side: value / size for side, value in seconds.items()}
        reckoned = {"CLOSE's way": EPOCHS * steps["CLOSE's way"], "here": once + EPOCHS * steps["here"]}
        rounds.append(
            {"here, encoding once, ms": 1000 * once}
            | {f"{side}, step, ms": 1000 * value for side, value in steps.items()}
            | {f"{side}, {EPOCHS} epochs, ms": 1000 * value for side, value in reckoned.items()}
            | {"ratio": reckoned["CLOSE's way"] / reckoned["here"]}
        )
    return rounds[1:]  # the first one warms up


def compare_capdec(
    texts: list[str], batches: Sequence[IntArray], num_rounds: int, lm: str = "gpt2"
) -> list[dict[str, float]]:
    """Compare with CapDec's way: seconds per caption, encoding left out on both sides."""
    size, num_steps = len(batches[0]), len(batches) // (num_rounds + 1)
    capdec = compose(lm, size, "mapper=transformer", "mapper.num_tokens=40", "mapper.num_vector_tokens=40")
    sides = {
        "CapDec's way": (build_public_step(capdec, texts, batches, has_fixed_length=True), num_steps),
        "here": (build_step(compose(lm, size), texts, len(batches)), 2 * num_steps),
    }
    rounds = []
    for number in range(num_rounds + 1):
        seconds = measure_in_turn(sides, number)
        rounds.append(
            {f"{side}, step, ms": 1000 * value / size for side, value in seconds.items()}
            | {"ratio": seconds["CapDec's way"] / seconds["here"]}
        )
    return rounds[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="ViT-B-32", help="architecture of open_clip")
    parser.add_argument("--lm", default="t5-small", help="language model of configs/lm next to CLOSE's way")
    parser.add_argument("--gpt2", default="gpt2", help="language model of configs/lm next to CapDec's way")
    parser.add_argument("--batch-size", type=int, default=CLOSE_BATCH, help="captions per step next to CLOSE's way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=1, help="steps per round of the other ways; here takes twice as many"
    )
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "training_epochs.json", help="JSON file to write"
    )
    arguments = parser.parse_args()

    corpus, groups = measuring.read_captions_by_image()
    texts = list(dict.fromkeys(text for group in groups for text in group))[:5000]
    num_steps, num_rounds, size = arguments.steps, arguments.rounds, arguments.batch_size
    order = np.random.default_rng(0).permutation(len(texts))  # random batches, as both public ways draw them

    def draw_batches(size: int) -> list[IntArray]:
        return [order[start : start + size] for start in range(0, (num_rounds + 1) * num_steps * size, size)]

    print(f"{corpus}, on {measuring.name_device('cpu')}; {num_rounds} rounds of {num_steps} steps")
    results: dict[str, Any] = {}
    capdec = compare_capdec(texts, draw_batches(CAPDEC_BATCH), num_rounds, arguments.gpt2)
    results[f"CapDec's way, {arguments.gpt2}, batch {CAPDEC_BATCH}"] = measuring.summarize(capdec)
    close = compare_close(arguments.clip, arguments.lm, texts, draw_batches(size), num_rounds)
    results[f"CLOSE's way, {arguments.clip} and {arguments.lm}, batch {size}"] = measuring.summarize(close)
    for name, summary in results.items():
        print(f"{name}: per caption")
        measuring.print_summary(summary)
    machine = measuring.describe_machine("cpu")
    result = {"benchmark": "training_epochs", "machine": machine, "corpus": corpus, "results": results}
    measuring.write_result(arguments.output, result | {"epochs": EPOCHS})


if __name__ == "__main__":
    main()
