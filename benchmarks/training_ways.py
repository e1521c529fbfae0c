"""Cost of a training step next to the bare language model's step, and of several targets per scene next to repeated scenes.

    OMP_NUM_THREADS=1 python benchmarks/training_ways.py
    python benchmarks/training_ways.py --rounds 3 --output training_ways.json

Both sides of a comparison take steps in turn in one process, on captions of COCO's val2017 below CLOSE_TRANSFER_DATA, or
else Picturebook's, with random weights and without dropout.

step: the package's whole step (batch, vectors, noise, mapper, language model, loss, clipping, AdamW), next to the language
model alone: transformers' forward with its loss, backward and AdamW. The bare side gets the same labels, padded as the
package pads its sorted batches and made before the clock starts, and as many constant tokens as the mapper makes.

targets: the package's step on scenes with all their captions as targets, next to one on the same scenes and captions
with one example per caption. "the same batches": the other side's batches have the same captions, so they are padded
alike. "sorted batches": they are sorted by the length of each caption, which leaves less padding than scenes whose captions
differ in length. "prompt and answers" has four answers of two words per scene, after a prompt as long as a caption.

Seconds of the clock depend on other programs, CPU seconds of the process less so; with one thread these are a measure too.
"""

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import measuring
import numpy as np
import torch
import transformers
from training_step import DIM, LEARNING_RATE, MAX_TOKENS, VOCABULARY, build_network

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import IntArray
from close_transfer.data.examples import Example
from close_transfer.encoders.embedding_cache import EmbeddingMatrix
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.language_models import END_TOKEN
from close_transfer.models.network import TransferNetwork
from close_transfer.models.prompt_format import TextFormat
from close_transfer.training.accelerator import build_accelerator, build_optimizer
from close_transfer.training.batch_order import iterate_batches
from close_transfer.training.batches import IGNORED, TokenizedExamples
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.transfer_objective import TransferObjective

NUM_PREFIX_TOKENS = 4  # of the linear mapper, CLOSE's
SCENES_PER_BATCH = 32  # CLOSE's batch of the multi-caption setting
NUM_ANSWER_WORDS = 2
# Scenes with several targets: settings, and the number of captions that are the prompt. After a prompt, the targets are the
# beginnings of captions, as short as answers to a question.
READINGS: dict[str, tuple[list[str], int]] = {
    "captions, linear mapper": ([], 0),
    "captions, transformer mapper": (["mapper=transformer"], 0),
    "prompt and answers": ([], 1),
}

Step = Callable[[int], None]


def build_examples(
    groups: Sequence[Sequence[str]], num_prompts: int, text_format: TextFormat, is_shared: bool
) -> TokenizedExamples:
    """Tokenize scenes of several captions: one example per scene, or one per target with the scene's vector again."""
    rows, examples = [], []
    for scene, group in enumerate(groups):
        prompt, targets = " ".join(group[:num_prompts]), tuple(group[num_prompts:])
        if prompt:
            targets = tuple(" ".join(target.split()[:NUM_ANSWER_WORDS]) for target in targets)
        for part in [targets] if is_shared else [(target,) for target in targets]:
            rows.append(scene)
            examples.append(Example(str(len(rows)), (group[0],), prompt=prompt, targets=part))
    vectors = np.random.default_rng(0).standard_normal((len(groups), DIM), dtype=np.float32)
    matrix = EmbeddingMatrix([vectors])
    found = SceneVectors(matrix, np.array(rows), np.arange(len(rows) + 1))
    return TokenizedExamples(examples, found, text_format, MAX_TOKENS, MAX_TOKENS, lowercase_targets=True)


def build_runner(config: TrainConfig, network: TransferNetwork, examples: TokenizedExamples) -> StepRunner:
    """Return the package's steps on these examples."""
    accelerator = build_accelerator("cpu", config.train.precision)
    optimizer = build_optimizer(network, LEARNING_RATE, 0.0, accelerator.device, uses_graphs=False)
    model, wrapped = accelerator.prepare(network, optimizer)
    objective = TransferObjective(examples, examples, "text", config.train, seed=0)
    return StepRunner(model, wrapped.optimizer, accelerator, objective, config.train)


def build_format(config: TrainConfig, network: TransferNetwork, texts: Sequence[str]) -> TextFormat:
    assert config.lm.kind == "scratch"
    return TextFormat(train_bpe(texts, min(VOCABULARY, network.lm.config.vocab_size), END_TOKEN),
                      network.config.text_format["kind"])  # fmt: skip


def build_bare_step(network: TransferNetwork, labels: Sequence[torch.Tensor]) -> Step:
    """Return the step of a copy of the language model on tokens, without anything of this package."""
    lm = copy.deepcopy(network.lm).train()
    optimizer = torch.optim.AdamW(lm.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    inputs = []
    for targets in labels:
        prefix = torch.zeros(len(targets), NUM_PREFIX_TOKENS, dtype=torch.int64)
        if lm.config.is_encoder_decoder:
            inputs.append({"input_ids": prefix, "labels": targets})
        else:
            joined = torch.cat([prefix, targets.clamp(min=0)], dim=1)
            inputs.append({"input_ids": joined, "labels": torch.cat([prefix + IGNORED, targets], dim=1)})

    def step(number: int) -> None:
        optimizer.zero_grad()
        lm(**inputs[number], use_cache=False).loss.backward()
        optimizer.step()

    return step


def measure(sides: dict[str, Step], num_warm: int, num_steps: int, num_rounds: int) -> dict[str, dict]:
    """Let the sides take each step in turn, and return medians of the rounds: ms per step, and ratios of the first side to the second."""
    first, second = sides
    rounds = []
    for round_number in range(num_rounds + 1):  # the first one warms up
        wall, cpu = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
        start = 0 if not round_number else num_warm + (round_number - 1) * num_steps
        for number in range(start, start + (num_steps if round_number else num_warm)):
            for side in sides if number % 2 else reversed(sides):  # so that neither always comes first
                wall_began, cpu_began = time.perf_counter(), time.process_time()
                sides[side](number)
                wall[side] += time.perf_counter() - wall_began
                cpu[side] += time.process_time() - cpu_began
        if round_number:
            rounds.append(
                {f"{side}, ms": 1000 * wall[side] / num_steps for side in sides}
                | {"ratio": wall[first] / wall[second], "ratio of CPU seconds": cpu[first] / cpu[second]}
            )
    return measuring.summarize(rounds)


def compare_step(lm: str, groups: Sequence[Sequence[str]], counts: tuple[int, int, int]) -> dict[str, dict]:
    """Compare the package's step with the bare language model's, with one caption per example."""
    config = compose_config("train", TrainConfig, [f"lm={lm}", "device=cpu"])
    network = build_network(config)
    text_format = build_format(config, network, [text for group in groups for text in group])
    examples = build_examples(groups, 0, text_format, is_shared=False)
    total = counts[0] + counts[1] * counts[2]
    batches = list(iterate_batches(examples.compute_lengths(), config.train.batch_size, 0, 0, total))
    labels = [examples.make_parts(batch, 1)[0].labels for batch in batches]
    bare = build_bare_step(network, labels)
    runner = build_runner(config, network, examples)
    sides = {"step": lambda number: runner.run(number, batches[number], LEARNING_RATE), "bare": bare}
    padding = float(np.mean([float((label == IGNORED).float().mean()) for label in labels]))
    return measure(sides, *counts) | {"padding": {"share": padding}}


def compare_targets(
    groups: Sequence[Sequence[str]],
    settings: Sequence[str],
    num_prompts: int,
    is_sorted: bool,
    counts: tuple[int, int, int],
) -> dict[str, dict]:
    """Compare scenes with several targets with scenes that are repeated for each of them.

    If `is_sorted`, the repeated examples are batched anew by their length; else each batch has the same captions as
    that of the other side.
    """
    config = compose_config("train", TrainConfig, [*settings, "lm=t5-mini", "device=cpu"])
    network = build_network(config)
    text_format = build_format(config, network, [text for group in groups for text in group])
    total, num_targets = counts[0] + counts[1] * counts[2], len(groups[0]) - num_prompts
    shared = build_examples(groups, num_prompts, text_format, is_shared=True)
    repeated = build_examples(groups, num_prompts, text_format, is_shared=False)
    scenes = list(iterate_batches(shared.compute_lengths(), SCENES_PER_BATCH, 0, 0, total))
    if is_sorted:
        size = num_targets * SCENES_PER_BATCH
        batches = list(iterate_batches(repeated.compute_lengths(), size, 0, 0, total))
    else:
        batches = [(rows[:, None] * num_targets + np.arange(num_targets)).ravel() for rows in scenes]
    sides = {
        "shared": _bind(build_runner(config, copy.deepcopy(network), shared), scenes),
        "repeated": _bind(build_runner(config, network, repeated), batches),
    }
    return measure(sides, *counts)


def _bind(runner: StepRunner, batches: Sequence[IntArray]) -> Step:
    return lambda number: runner.run(number, batches[number], LEARNING_RATE)


def print_comparison(name: str, summary: dict[str, dict]) -> None:
    print(name)
    measuring.print_summary({key: row for key, row in summary.items() if "median" in row})
    if "padding" in summary:
        print(f"{'padding, share of labels':28} {summary['padding']['share']:.4g}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="steps per round of either side")
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "training_ways.json", help="JSON file to write"
    )
    arguments = parser.parse_args()

    corpus, groups = measuring.read_captions_by_image()
    groups = [group for group in groups if len(group) == 5][:2000]
    counts = (4, arguments.steps, arguments.rounds)
    transformers.logging.set_verbosity_error()  # the small GPT-2 has another end of text than its class
    print(
        f"{corpus}, on {measuring.name_device('cpu')}; {arguments.rounds} rounds of {arguments.steps} steps", flush=True
    )
    results: dict[str, dict] = {}
    for lm in ("t5-mini", "gpt2-mini"):
        results[f"step, {lm}"] = compare_step(lm, groups, counts)
        print_comparison(f"step, {lm}", results[f"step, {lm}"])
    for name, (settings, num_prompts) in READINGS.items():
        for is_sorted, batches in ((False, "the same batches"), (True, "sorted batches")):
            title = f"targets, {name}, {batches}"
            results[title] = compare_targets(groups, settings, num_prompts, is_sorted, counts)
            print_comparison(title, results[title])
    machine = measuring.describe_machine("cpu")
    result = {"benchmark": "training_ways", "machine": machine, "corpus": corpus, "results": results}
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
