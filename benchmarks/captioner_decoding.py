"""Speed of a captioner's decoder: cached keys and values next to reading all earlier tokens again.

    OMP_NUM_THREADS=1 python benchmarks/captioner_decoding.py

The decoder has the sizes of captioner=small. It is first trained for some seconds on Picturebook's captions, because a text
of random weights never ends; its images are random, so it learns the language alone, which is enough for the lengths. Both
sides answer the same images in turn:

- beams, greedy and sampling: `Decoder` now, and transformers' `generate` without a cache, which is how a captioner decoded
  before;
- labels: the texts of Picturebook's kinds by one pass over a tree, and each text as a row with a copy of the image.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import measuring
import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from close_transfer.cli import compose_config
from close_transfer.config.train_captioner import TrainCaptionerConfig
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.classes import classify_scenes
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.inference.decoding import Decoder
from close_transfer.inference.decoding_settings import Decoding
from close_transfer.models.bpe_tokenizer import train_bpe
from close_transfer.models.captioner import CaptionerDecoder, CaptionerDecoderConfig
from close_transfer.models.language_models import END_TOKEN, reset_generation_config
from close_transfer.models.lm_wrappers import IGNORED, Context, EncoderDecoder
from close_transfer.models.network import TransferConfig, TransferNetwork
from close_transfer.models.saved_config import SavedNoise, SavedTask
from close_transfer.training.ragged import Ragged

STEPS, TRAINING_BATCH, RATE, NUM_SCENES = 150, 64, 2e-3, 1500


class Uncached(EncoderDecoder):
    """Captioner's decoder as it was before: every step of `generate` reads all tokens."""

    def generate(self, lm: Any, context: Context, **settings: Any) -> Any:
        return super().generate(lm, context, **settings, use_cache=False)


class UncachedDecoder(Decoder):
    """Decoder as it was before, for beams as well as for samples."""

    _generate = Decoder._generate_by_transformers


def train_decoder() -> tuple[TransferNetwork, PreTrainedTokenizerBase, int]:
    """Return a network with a decoder that writes Picturebook's language, its tokenizer, and the tokens of an image."""
    config = compose_config("train_captioner", TrainCaptionerConfig, ["output=any"])
    sizes = config.captioner
    texts = [caption.text.lower() for scene in scenes("train", NUM_SCENES) for caption in captions(scene)]
    tokenizer = train_bpe(texts, sizes.vocab_size, END_TOKEN)
    special = dict.fromkeys(("pad_token_id", "decoder_start_token_id"), tokenizer.pad_token_id)
    torch.manual_seed(0)
    lm = CaptionerDecoder(
        CaptionerDecoderConfig(
            vocab_size=len(tokenizer), **config.decoder_settings, **special, eos_token_id=tokenizer.eos_token_id
        )
    )
    ids = [row[: sizes.num_positions] for row in tokenizer(texts).input_ids]
    rows, num_tokens = Ragged.from_rows(ids), (sizes.image_size // sizes.patch_size) ** 2
    optimizer = torch.optim.AdamW(lm.parameters(), lr=RATE)
    drawn = np.random.default_rng(0)
    for _ in range(STEPS):
        labels = rows.pad(drawn.integers(len(rows), size=TRAINING_BATCH), IGNORED)
        logits = lm(encoder_outputs=(torch.randn(len(labels), num_tokens, sizes.width),), labels=labels).logits
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.3f} after {STEPS} steps")
    reset_generation_config(lm)
    task = config.task.model_dump(mode="json")
    network = TransferNetwork(
        TransferConfig(
            encoder={"name": "random images", "dim": sizes.width, "fingerprint": "", "config": {}},
            mapper={"name": "identity", "num_tokens": 1},
            noise=cast(SavedNoise, {"std": 0.0}),
            task=cast(SavedTask, task),
            lm=lm.config.to_dict(),
        ),
        lm,
    )
    return network.eval(), tokenizer, num_tokens


def time_sides(before: Callable[[], Any], now: Callable[[], Any], rounds: int) -> dict[str, dict[str, float]]:
    """Run both sides in turn, once for warming up; return their seconds and the ratio."""
    seconds = []
    for _ in range(rounds + 1):
        times = {}
        for name, run in (("before, s", before), ("now, s", now)):
            began = time.perf_counter()
            run()
            times[name] = time.perf_counter() - began
        seconds.append({**times, "ratio": times["before, s"] / times["now, s"]})
    summary = measuring.summarize(seconds[1:])
    measuring.print_summary(summary)
    return summary


def answer(decoder: Decoder, images: np.ndarray, batch_size: int) -> list[str]:
    """Return the likeliest text of each image."""
    texts: list[str] = []
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        predictions = decoder.predict_batch([str(start + row) for row in range(len(part))], part, [""] * len(part), ())
        texts += [prediction.text for prediction in predictions]
    return texts


def list_kind_texts() -> Sequence[str]:
    task = classify_scenes("kinds", scenes("train", 200), scenes("test", 100), "test")
    return [text.lower() for name in task.classes for text in task.class_texts[name]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "captioner_decoding.json", help="JSON file to write"
    )
    arguments = parser.parse_args()
    network, tokenizer, num_tokens = train_decoder()
    width = network.config.encoder["dim"]
    images = np.random.default_rng(1).standard_normal((arguments.images, num_tokens, width), dtype=np.float32)
    result: dict[str, Any] = {"benchmark": "captioner_decoding", "machine": measuring.describe_machine("cpu")}
    for name, decoding in (
        ("beams 5", Decoding(5)), ("greedy", Decoding(1)), ("sampling", Decoding(1, top_p=0.9)),
    ):  # fmt: skip
        texts: dict[str, list[str]] = {}
        before, now = UncachedDecoder(network, tokenizer, decoding), Decoder(network, tokenizer, decoding)

        def run(side: str, decoder: Decoder, kind: Any, texts: dict[str, list[str]] = texts) -> None:
            network.conditioning = kind
            texts[side] = answer(decoder, images, arguments.batch_size)

        print(f"{name}:")
        summary = time_sides(
            partial(run, "before", before, Uncached()), partial(run, "now", now, EncoderDecoder()), arguments.rounds
        )
        same = float(np.mean([a == b for a, b in zip(texts["before"], texts["now"], strict=True)]))
        num_words = float(np.mean([len(text.split()) for text in texts["now"]]))
        print(f"identical texts {same:.1%}, {num_words:.1f} words each")
        result[name] = {"summary": summary, "identical": same, "words": num_words}
    kinds, decoder = list_kind_texts(), Decoder(network, tokenizer, Decoding(1))
    prompts = [""] * len(images)
    print(f"labels: {len(kinds)} texts for each image")
    result["labels"] = time_sides(
        lambda: decoder.score_texts(images, prompts, [kinds] * len(images)),
        lambda: decoder.score_every_text(images, prompts, kinds),
        arguments.rounds,
    )
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
