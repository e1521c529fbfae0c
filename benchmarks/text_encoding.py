"""Speed of text encoding, compared with open_clip's own loop over texts of full context.

    python benchmarks/text_encoding.py
    python benchmarks/text_encoding.py ViT-L-14 --output text_encoding.json

Both sides run in one process in turn, from strings to vectors in memory. Each round has other captions: those of COCO's
val2017 below CLOSE_TRANSFER_DATA, or else Picturebook's. open_clip's side takes the same time for every text, so on a
CPU it encodes only some of a round's captions. The tokenizers are timed alone as well. The weights are random, which is
enough for timing. The vectors of the two sides are compared too.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import open_clip
import torch

from close_transfer.cli import compose_config
from close_transfer.config.components import OpenClipConfig
from close_transfer.config.train import TrainConfig
from close_transfer.encoders.clip_tokenizer import FastClipTokenizer
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder

GROUP = 1024  # as many texts as the embedding cache asks for at once
OPEN_CLIP_BATCH = {"cpu": 64, "cuda": 256}  # a CPU is slower with larger batches of full context
DEFAULTS = {"cpu": (1000, 128), "cuda": (20_000, 20_000)}  # texts per round of the two sides


def read_captions(number: int) -> list[str]:
    _, groups = measuring.read_captions_by_image()
    return list(dict.fromkeys(text for group in groups for text in group))[:number]


def measure(function: Callable[[], Any], device: str) -> tuple[Any, float]:
    began = time.perf_counter()
    result = function()
    measuring.wait_for(device)
    return result, time.perf_counter() - began


def encode_padded(encoder: OpenClipEncoder, tokenizer: Any, texts: Sequence[str], device: str) -> np.ndarray:
    """Encode as a user of open_clip would: batches in the given order, at full context, in float32."""
    size = OPEN_CLIP_BATCH[device]
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(texts), size):
            tokens = tokenizer(texts[start : start + size], encoder.context_length).to(device)
            vectors.append(encoder._model.encode_text(tokens).cpu())
    return torch.cat(vectors).numpy()


def encode(encoder: OpenClipEncoder, texts: Sequence[str]) -> np.ndarray:
    groups = (texts[start : start + GROUP] for start in range(0, len(texts), GROUP))
    return np.concatenate(list(encoder.encode_text_groups(groups)))


def run_round(encoder: OpenClipEncoder, tokenizer: Any, texts: list[str], num_padded: int, device: str) -> dict:
    """Run both sides and both tokenizers once, and return rates in texts per second, ratios and differences."""
    padded, padded_time = measure(lambda: encode_padded(encoder, tokenizer, texts[:num_padded], device), device)
    ours, our_time = measure(lambda: encode(encoder, texts), device)
    tokens, tokenizer_time = measure(lambda: tokenizer(texts, encoder.context_length), device)
    our_tokens, our_tokenizer_time = measure(lambda: encoder._tokenizer(texts, encoder.context_length), device)
    if not torch.equal(tokens, our_tokens):
        raise SystemExit("the tokenizers differ. Report the texts as a bug")
    ours = ours[: len(padded)]
    cosines = (padded * ours).sum(axis=1) / np.linalg.norm(padded, axis=1) / np.linalg.norm(ours, axis=1)
    return {
        "open_clip": len(padded) / padded_time,
        "close_transfer": len(texts) / our_time,
        "ratio": len(texts) / our_time * padded_time / len(padded),
        "tokenizer_open_clip": len(texts) / tokenizer_time,
        "tokenizer_close_transfer": len(texts) / our_tokenizer_time,
        "tokenizer_ratio": tokenizer_time / our_tokenizer_time,
        "max_difference": float(np.abs(padded - ours).max()),
        "min_cosine": float(cosines.min()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", nargs="?", default="ViT-B-32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, help="texts per round of close_transfer")
    parser.add_argument("--padded-texts", type=int, help="texts per round of open_clip's loop")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "text_encoding.json", help="JSON file to write"
    )
    arguments = parser.parse_args()

    device = measuring.find_device()
    num_texts, num_padded = arguments.texts or DEFAULTS[device][0], arguments.padded_texts or DEFAULTS[device][1]
    settings = [
        f"clip.model={arguments.architecture}",
        "clip.pretrained=random",
        f"clip.precision={arguments.precision}",
    ]
    config = compose_config("train", TrainConfig, ["clip=open_clip", *settings])
    assert isinstance(config.clip, OpenClipConfig)
    encoder = OpenClipEncoder(config.clip, device)
    tokenizer = open_clip.get_tokenizer(arguments.architecture)
    texts = read_captions(num_texts * arguments.rounds)
    num_texts = min(num_texts, len(texts) // arguments.rounds)
    run_round(encoder, tokenizer, texts[-min(200, num_texts) :], 64, device)  # warm up
    rounds = []
    for start in range(0, num_texts * arguments.rounds, num_texts):
        rounds.append(run_round(encoder, tokenizer, texts[start : start + num_texts], num_padded, device))
        print(f"round {len(rounds)}: {rounds[-1]['ratio']:.2f} times as fast", flush=True)

    summary = measuring.summarize(rounds)
    fast = encoder._tokenizer
    share = fast.num_slow / fast.num_texts if isinstance(fast, FastClipTokenizer) else None
    print(
        f"{arguments.architecture} on {measuring.name_device(device)}, {encoder.precision}; {len(rounds)} rounds of {num_texts:,} captions"
    )
    measuring.print_summary(summary)
    print(f"peak memory: {measuring.measure_peak_memory(device) / 2**20:,.0f} MiB")
    if share is not None:
        print(f"tokenized by open_clip: {share:.4%} of the texts")
    result = {
        "benchmark": "text_encoding", "machine": measuring.describe_machine(device), "architecture": arguments.architecture,
        "precision": encoder.precision, "texts_per_round": num_texts,
        "texts_per_round_open_clip": min(num_padded, num_texts), "summary": summary, "rounds": rounds,
        "peak_memory_bytes": measuring.measure_peak_memory(device), "share_tokenized_by_open_clip": share,
    }  # fmt: skip
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
