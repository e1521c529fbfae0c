"""Speed of image encoding from files to vectors, compared with the encoder alone on preprocessed images.

    python benchmarks/image_encoding.py
    python benchmarks/image_encoding.py ViT-L-14 --images 4096 --workers auto

The images are JPEGs of 640 x 480 pixels, smoothed noise, in a temporary folder. All sides run in one process in turn:
the encoder alone, whose images are on its device before, the way of a plain loop (open, preprocess, encode, one after
the other), and that of `predict.py`. The vectors of the two ways must be equal. Opening and preprocessing alone are timed
for one thread. The weights are random. The goal is 0.8 of what the encoder alone takes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.components import OpenClipConfig
from close_transfer.config.train import TrainConfig
from close_transfer.data.image_files import open_image
from close_transfer.encoders.image_reading import NumWorkers, count_processes
from close_transfer.encoders.open_clip_encoder import OpenClipEncoder

SIZE = (640, 480)
# Widths of the cells of noise and their shares: the files then have about 100 kB, as photographs of this size.
SCALES = {80: 0.5, 20: 0.25, 5: 0.15, 1: 0.1}
GROUP = 64  # predict.py answers as many images at once
# Images per round, and rounds. A GPU needs more, because its worker processes take seconds to start.
DEFAULTS = {"cpu": (128, 3), "cuda": (8192, 2)}


def draw_image(rng: np.random.Generator) -> Image.Image:
    total = np.zeros((SIZE[1], SIZE[0], 3))
    for cell, share in SCALES.items():
        noise = rng.integers(0, 256, (SIZE[1] // cell, SIZE[0] // cell, 3), dtype=np.uint8)
        total += share * np.asarray(Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray(total.astype(np.uint8))


def write_images(folder: Path, number: int) -> list[Path]:
    """Write JPEGs to a folder; above 512 they are copies, because drawing takes longer than reading."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:05}.jpg" for i in range(number)]
    for i, path in enumerate(paths):
        if i < 512:
            draw_image(rng).save(path, quality=90)
        else:
            path.write_bytes(paths[i % 512].read_bytes())
    return paths


def measure(function: Callable[[], Any], device: str) -> tuple[Any, float]:
    began = time.perf_counter()
    result = function()
    measuring.wait_for(device)
    return result, time.perf_counter() - began


def encode_alone(encoder: OpenClipEncoder, batches: Sequence[torch.Tensor]) -> None:
    for batch in batches:
        encoder._encode(batch)


def encode_in_turn(encoder: OpenClipEncoder, paths: Sequence[Path], device: str) -> np.ndarray:
    """Encode by a plain loop, which does one thing at a time."""
    vectors = []
    for start in range(0, len(paths), GROUP):
        batch = torch.stack([encoder._preprocess(open_image(path)) for path in paths[start : start + GROUP]])
        vectors.append(encoder._encode(batch.to(device)).float().cpu().numpy())
    return np.concatenate(vectors)


def encode_groups(encoder: OpenClipEncoder, paths: Sequence[Path], workers: NumWorkers) -> np.ndarray:
    groups = ([partial(open_image, path) for path in paths[i : i + GROUP]] for i in range(0, len(paths), GROUP))
    return np.concatenate([group.vectors for group in encoder.encode_image_groups(groups, workers, len(paths))])


def run_round(encoder: OpenClipEncoder, paths: Sequence[Path], workers: NumWorkers, device: str) -> dict[str, float]:
    """Run all sides once, and return rates in images per second and ratios."""
    part = paths[:64]
    opened, open_time = measure(lambda: [open_image(path) for path in part], device)
    tensors, preprocess_time = measure(lambda: [encoder._preprocess(image) for image in opened], device)
    batches = [torch.stack(tensors).to(device)] * (len(paths) // GROUP)
    _, alone_time = measure(lambda: encode_alone(encoder, batches), device)
    ours, our_time = measure(lambda: encode_groups(encoder, paths, workers), device)
    in_turn = paths if device == "cpu" else paths[:2048]
    plain, plain_time = measure(lambda: encode_in_turn(encoder, in_turn, device), device)
    # Matrix products of a GPU may round by the size of a batch; on a CPU both sides must agree to the last bit.
    if not (np.array_equal(plain, ours) if device == "cpu" else np.allclose(plain, ours[: len(plain)], atol=1e-2)):
        raise SystemExit("the vectors differ. Report this as a bug")
    return {
        "opening": len(part) / open_time,
        "preprocessing": len(part) / preprocess_time,
        "encoder_alone": GROUP * len(batches) / alone_time,
        "in_turn": len(in_turn) / plain_time,
        "close_transfer": len(paths) / our_time,
        "share_in_turn": len(in_turn) / plain_time * alone_time / (GROUP * len(batches)),
        "share": len(paths) / our_time * alone_time / (GROUP * len(batches)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", nargs="?", default="ViT-B-32")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--images", type=int, help="images per round, a multiple of 64")
    parser.add_argument("--workers", default="auto", help="auto, or a number of processes; 0 for threads")
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "image_encoding.json", help="JSON file to write"
    )
    arguments = parser.parse_args()

    device = measuring.find_device()
    num_images, num_rounds = arguments.images or DEFAULTS[device][0], arguments.rounds or DEFAULTS[device][1]
    workers: NumWorkers = "auto" if arguments.workers == "auto" else int(arguments.workers)
    settings = [f"clip.model={arguments.architecture}", "clip.pretrained=random"]
    config = compose_config("train", TrainConfig, ["clip=open_clip", *settings])
    assert isinstance(config.clip, OpenClipConfig)
    encoder = OpenClipEncoder(config.clip, device)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), num_images // GROUP * GROUP)
        num_bytes = sum(path.stat().st_size for path in paths) // len(paths)
        encode_in_turn(encoder, paths[:GROUP], device)  # warm up
        rounds = []
        for _ in range(num_rounds):
            rounds.append(run_round(encoder, paths, workers, device))
            print(f"round {len(rounds)}: {rounds[-1]['share']:.2f} of the encoder alone", flush=True)

    summary = measuring.summarize(rounds)
    num_processes = count_processes(workers, len(paths), device)
    print(
        f"{arguments.architecture} on {measuring.name_device(device)}, {encoder.precision}; {len(rounds)} rounds of "
        f"{len(paths):,} images of {num_bytes:,} bytes, {num_processes} worker processes; images per second and shares"
    )
    measuring.print_summary(summary)
    print(f"peak memory: {measuring.measure_peak_memory(device) / 2**20:,.0f} MiB")
    result = {
        "benchmark": "image_encoding", "machine": measuring.describe_machine(device), "architecture": arguments.architecture,
        "precision": encoder.precision, "images_per_round": len(paths), "bytes_per_image": num_bytes,
        "worker_processes": num_processes, "summary": summary, "rounds": rounds,
        "peak_memory_bytes": measuring.measure_peak_memory(device),
    }  # fmt: skip
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
