"""Speed-up of text encoding by cutting batches to their longest text.

    python benchmarks/text_encoding.py
    python benchmarks/text_encoding.py ViT-B-32

Encodes Picturebook captions with an architecture of `open_clip` (the built-in CLIP by default), in turns at full
context and cut, and prints the median ratio of several rounds. The weights are random, which is enough for timing.
"""

import statistics
import sys
import time

import open_clip
import torch

from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders.open_clip_encoder import PICTUREBOOK_FOLDER
from close_transfer.encoders.text_forward import find_causal_text_tower

ROUNDS, BATCH = 7, 128


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else f"local-dir:{PICTUREBOOK_FOLDER}"
    model = open_clip.create_model(name).eval()
    texts = [caption.text for scene in scenes("val", 100) for caption in captions(scene)]
    context = getattr(model, "context_length", 77)
    tokens = open_clip.get_tokenizer(name)(texts, context)
    tower = find_causal_text_tower(model)
    if tower is None:
        sys.exit(f"{name}: its text tower is not causal, so texts are never cut. Name another architecture")
    lengths = tower.lengths(tokens)
    order = lengths.argsort()
    rounds = []
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            for rows in order.split(BATCH):
                model.encode_text(tokens[rows])
            middle = time.perf_counter()
            for rows in order.split(BATCH):
                tower(tokens[rows, : int(lengths[rows].max())])
            rounds.append((middle - began, time.perf_counter() - middle))
    full, cut = (statistics.median(part) for part in zip(*rounds[1:], strict=True))
    ratio = statistics.median(a / b for a, b in rounds[1:])
    print(f"{len(texts)} captions, context {context}, mean length {lengths.float().mean():.1f} tokens")
    print(
        f"full context {len(texts) / full:,.0f} texts/s, cut {len(texts) / cut:,.0f} texts/s, {ratio:.1f} times as fast"
    )


if __name__ == "__main__":
    main()
