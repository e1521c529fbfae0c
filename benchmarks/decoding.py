"""Speed of beam search, greedy decoding and label scores, compared with transformers' `generate`.

    python benchmarks/decoding.py
    python benchmarks/decoding.py --lms t5-mini --rounds 5 --output decoding.json

Each language model is first trained for half a minute on Picturebook's captions, because a text of random weights never
ends and would hide what it costs to wait for the longest text of a batch. Captions follow prompts of 0 to 12 words. Labels
are those of visual entailment. Both sides answer the same examples in turn: `generate` in the examples' own order, ours in
the order of `Decoder.predict`. On a CPU their batches have the same size. On a GPU, ours are as large as those that
`eval_image.py` chooses by its memory, and the models are T5-base and GPT-2. The texts of `decoding_precision=bf16` are
compared with those of fp32: the share of identical ones (goal: 98%), and both CIDEr (goal: a difference of at most 0.2).
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import measuring
import numpy as np
import torch
from check_experiments import build_random_language_model

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core.arrays import Float32Array
from close_transfer.data.examples import Example
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders.embedding_cache import EmbeddingMatrix
from close_transfer.encoders.embeddings import SceneVectors
from close_transfer.inference.batch_size import choose_batch_size
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.metrics.captions import count_image_statistics
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.language_models import END_TOKEN
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.models.prompt_format import TextFormat
from close_transfer.models.saved_config import SavedNoise, SavedTask, SavedTextFormat
from close_transfer.tasks.custom import Custom
from close_transfer.training.accelerator import build_accelerator, build_optimizer
from close_transfer.training.batch_order import iterate_batches
from close_transfer.training.batches import TokenizedExamples
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.transfer_objective import TransferObjective

DIM, VOCABULARY, MAX_TOKENS, BEAMS = 512, 4096, 48, 5
LABELS = ("entailment", "neutral", "contradiction")
# Language models, training steps, learning rate, and examples to answer. A model that is trained for too short a time finds
# many words equally likely, and bf16 then chooses others.
DEFAULTS = {"cpu": (("t5-mini", "gpt2-mini"), 500, 2e-3, 256), "cuda": (("t5-base", "gpt2"), 400, 1e-4, 2048)}


@dataclass(frozen=True)
class Corpus:
    """Examples with their vectors: half of them captions with a prompt, half labels of a hypothesis."""

    examples: list[Example]
    vectors: Float32Array

    def select(self, rows: Sequence[int]) -> "Corpus":
        return Corpus([self.examples[row] for row in rows], self.vectors[list(rows)])


def build_corpus(split: Any, num_scenes: int) -> Corpus:
    """Return examples of Picturebook; a vector is the sum of fixed random vectors of a caption's words."""
    rng, word_vectors = random.Random(0), {}
    written = [[caption.text for caption in captions(scene)] for scene in scenes(split, num_scenes)]
    examples, vectors = [], []
    for number, texts in enumerate(written):
        other = rng.choice(written[rng.randrange(num_scenes)] if number % 3 else texts)
        prompt = " ".join(texts[1].split()[: rng.randrange(13)])
        label = LABELS[number % 3]
        examples.append(Example(f"caption-{number}", (texts[0],), prompt=prompt, targets=(texts[0],)))
        examples.append(Example(f"label-{number}", (texts[0],), prompt=f"Is it true? {other}", targets=(label,)))
        for word in texts[0].split():
            if word not in word_vectors:
                word_vectors[word] = np.random.default_rng(list(word.encode())).standard_normal(DIM, dtype=np.float32)
        vectors += [np.sum([word_vectors[word] for word in texts[0].split()], axis=0)] * 2
    return Corpus(examples, np.stack(vectors))


def train_network(lm: str, corpus: Corpus, steps: int, rate: float, kind: str) -> tuple[TransferNetwork, TextFormat]:
    """Train a network on the corpus for some steps."""
    torch.manual_seed(0)
    config = compose_config("train", TrainConfig, [f"lm={lm}", f"device={kind}"])
    model = build_random_language_model(config.lm)
    texts = [text for example in corpus.examples for text in (*example.targets, example.prompt)]
    is_t5 = bool(model.config.is_encoder_decoder)
    text_format = TextFormat(train_bpe(texts, VOCABULARY, end_token=END_TOKEN), "encoder-decoder" if is_t5 else "plain")
    network = TransferNetwork(
        TransferConfig(
            encoder={"name": "words", "dim": DIM, "fingerprint": "", "config": {}},
            adapter=[{"name": "gaussian"}],
            mapper=config.mapper.model_dump(),
            noise=cast(SavedNoise, NoiseScale(0.0, DIM).as_dict()),
            task=cast(
                SavedTask,
                {
                    "name": Custom.name,
                    "max_prompt_tokens": MAX_TOKENS,
                    "max_target_tokens": MAX_TOKENS,
                    "num_beams": BEAMS,
                },
            ),
            lm=model.config.to_dict(),
            text_format=cast(SavedTextFormat, {"kind": text_format.kind, "before": list(text_format.before)}),
        ),
        model,
    )
    accelerator = build_accelerator(kind, config.train.precision)
    network.to(accelerator.device)
    names = [example.id for example in corpus.examples]
    matrix = EmbeddingMatrix([corpus.vectors])
    found = SceneVectors(matrix, np.arange(len(names)), np.arange(len(names) + 1))
    examples = TokenizedExamples(corpus.examples, found, text_format, MAX_TOKENS, MAX_TOKENS, lowercase_targets=False)
    objective = TransferObjective(examples, examples, "text", config.train, seed=0)
    optimizer = build_optimizer(network, rate, 0.0, accelerator.device, False)
    prepared, wrapped = accelerator.prepare(network.train(), optimizer)
    runner = StepRunner(prepared, wrapped.optimizer, accelerator, objective, config.train)
    for step, rows in enumerate(iterate_batches(examples.compute_lengths(), 64, 0, 0, steps)):
        runner.run(step, rows, rate)
    print(f"{lm}: loss {runner.look()['loss']:.3f} after {steps} steps")
    return network.eval(), text_format


class GeneratingDecoder(Decoder):
    """Decoder as it was before: transformers' `generate`, and a row with a copy of the context for each label."""

    _generate = Decoder._generate_by_transformers


def answer(decoder: Decoder, corpus: Corpus, batch_size: int | None) -> list[str]:
    """Return the texts, in the decoder's order or, with a `batch_size`, in batches in the examples' order."""
    ids, prompts = [each.id for each in corpus.examples], [each.prompt for each in corpus.examples]
    if batch_size is None:
        return [each.text for each in decoder.predict(ids, corpus.vectors.__getitem__, prompts)]
    predictions = []
    for start in range(0, len(ids), batch_size):
        part = slice(start, start + batch_size)
        predictions += decoder.predict_batch(ids[part], corpus.vectors[part], prompts[part], ())
    return [each.text for each in predictions]


def score_all_labels(decoder: Decoder, corpus: Corpus, batch_size: int) -> None:
    """Read each context and score its labels, as `predict_batch` does before it generates."""
    for start in range(0, len(corpus.examples), batch_size):
        prompts = [each.prompt for each in corpus.examples[start : start + batch_size]]
        decoder.score_every_text(corpus.vectors[start : start + batch_size], prompts, LABELS).cpu()


def time_sides(sides: dict[str, Callable[[], Any]], rounds: int, kind: str) -> list[dict[str, float]]:
    """Run all sides in turn; return their seconds in each round, without the first, in which a GPU warms up."""
    seconds = []
    for _ in range(rounds + 1):
        one = {}
        for name, run in sides.items():
            measuring.wait_for(kind)
            began = time.perf_counter()
            run()
            measuring.wait_for(kind)
            one[name] = time.perf_counter() - began
        seconds.append(one)
    return seconds[1:]


def measure_texts(
    network: TransferNetwork, tokenizer: Any, corpus: Corpus, num_beams: int, batch_size: int, rounds: int, kind: str
) -> dict[str, Any]:
    """Time texts of both sides; return the summary and the share of identical texts."""
    decoding = Decoding(num_beams)
    # On a GPU, a batch of ours is as large as that of an evaluation.
    ours_size = choose_batch_size(network, decoding) if kind == "cuda" else batch_size
    ours = Decoder(network, tokenizer, decoding, ours_size, "text")
    theirs = GeneratingDecoder(network, tokenizer, decoding, batch_size, "text")
    texts: dict[str, list[str]] = {}
    sides = {
        "generate, s": lambda: texts.update(generate=answer(theirs, corpus, batch_size)),
        "ours, s": lambda: texts.update(ours=answer(ours, corpus, None)),
    }
    seconds = time_sides(sides, rounds, kind)
    summary = measuring.summarize([{**one, "ratio": one["generate, s"] / one["ours, s"]} for one in seconds])
    words = [len(text.split()) for text in texts["ours"]]
    share = float(np.mean([a == b for a, b in zip(texts["ours"], texts["generate"], strict=True)]))
    print(f"beams {num_beams}: texts of {min(words)} to {max(words)} words, identical {share:.2%}")
    measuring.print_summary(summary)
    result = {"summary": summary, "identical": share, "words": [min(words), float(np.mean(words)), max(words)]}
    return result | compare_bf16(network, tokenizer, corpus, texts["ours"], decoding, ours_size)


def compare_bf16(
    network: TransferNetwork, tokenizer: Any, corpus: Corpus, texts: Sequence[str], decoding: Decoding, batch_size: int
) -> dict[str, float]:
    """Return how much the texts differ if they are decoded in bf16."""
    halved = answer(Decoder(network, tokenizer, replace(decoding, precision="bf16"), batch_size, "text"), corpus, None)
    share = float(np.mean([a == b for a, b in zip(texts, halved, strict=True)]))
    references = [[example.targets[0].lower()] for example in corpus.examples]
    full, half = (
        100 * float(count_image_statistics([text.lower() for text in each], references).cider.mean())
        for each in (texts, halved)
    )
    print(f"bf16: identical {share:.2%}, CIDEr {half:.2f} instead of {full:.2f}")
    return {"bf16_identical": share, "bf16_cider": half, "fp32_cider": full}


def measure_labels(
    network: TransferNetwork, tokenizer: Any, corpus: Corpus, batch_size: int, rounds: int, kind: str
) -> dict[str, Any]:
    """Time label scores next to generating the same answers with the beams of the task."""
    ours = Decoder(network, tokenizer, Decoding(BEAMS), batch_size, "text")
    theirs = GeneratingDecoder(network, tokenizer, Decoding(BEAMS), batch_size, "text")
    sides = {
        "generate labels, s": lambda: answer(theirs, corpus, batch_size),
        "our search, s": lambda: answer(ours, corpus, batch_size),
        "label scores, s": lambda: score_all_labels(ours, corpus, batch_size),
    }
    names = {"ratio to generate": "generate labels, s", "ratio to our search": "our search, s"}
    seconds = time_sides(sides, rounds, kind)
    rows = [{**one, **{name: one[side] / one["label scores, s"] for name, side in names.items()}} for one in seconds]
    summary = measuring.summarize(rows)
    print("labels:")
    measuring.print_summary(summary)
    return {"summary": summary}


def main() -> None:
    kind = measuring.find_device()
    lms, steps, rate, num = DEFAULTS[kind]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lms", nargs="+", default=lms, help="language models of configs/lm")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--examples", type=int, default=num, help="captions, and labels, to write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=measuring.RESULTS / "decoding.json", help="JSON file to write")
    arguments = parser.parse_args()

    training, test = build_corpus("train", 3000), build_corpus("test", arguments.examples)
    test_captions = test.select(range(0, len(test.examples), 2))
    test_labels = test.select(range(1, len(test.examples), 2))
    print(f"batches of {arguments.batch_size} on {measuring.name_device(kind)}, {arguments.rounds} rounds")
    result: dict[str, Any] = {"benchmark": "decoding", "machine": measuring.describe_machine(kind)}
    for lm in arguments.lms:
        network, text_format = train_network(lm, training, steps, rate, kind)
        common = (network, text_format.tokenizer)
        limits = (arguments.batch_size, arguments.rounds, kind)
        result[lm] = {"labels": measure_labels(*common, test_labels, *limits)}
        for num_beams in (1, BEAMS):
            result[lm][f"beams {num_beams}"] = measure_texts(*common, test_captions, num_beams, *limits)
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
