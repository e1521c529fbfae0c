"""Reads the tokens that stand for a picture in front of the language model as their nearest words.

    python scripts/read_prefix.py run=runs/captioning/latest images=photo.jpg

All settings: configs/read_prefix.yaml.
"""

import sys
from pathlib import Path

import torch

from close_transfer import TransferModel
from close_transfer.cli import command
from close_transfer.config import ReadPrefixConfig
from close_transfer.pictures import find_pictures, open_picture
from close_transfer.prefix_words import nearest_words
from close_transfer.runs import find_run


@command("read_prefix", ReadPrefixConfig)
def main(config: ReadPrefixConfig) -> None:
    model = TransferModel.from_pretrained(
        find_run(config.run, config.runs, config.task), config.device, config.checkpoint
    )
    found = find_pictures(Path(config.images))
    for name, reason in found.faults:
        print(f"{name}: {reason}", file=sys.stderr)
    for name, path in found.files:
        vectors = torch.from_numpy(model.encoder.encode_images([open_picture(path)]))
        print(f"{name}: {model.write([path], num_beams=1)[0].text}")
        (tokens,) = nearest_words(model.network, model.tokenizer, vectors, "image", config.num_words)
        for number, words in enumerate(tokens, start=1):
            print(f"  token {number}: " + ", ".join(f"{one.word} {one.cosine:.2f}" for one in words))


if __name__ == "__main__":
    main()
