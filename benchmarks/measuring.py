"""Parts that benchmarks share: captions, the machine, medians of rounds, and the file of results."""

import gzip
import json
import os
import platform
import resource
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from close_transfer.core.atomic_files import write_json
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.scenes import scenes


def find_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


# Results of a GPU have their own folder, because the same scripts measure both.
RESULTS = Path("runs/benchmarks", "gpu") if find_device() == "cuda" else Path("runs/benchmarks")


def read_captions_by_image() -> tuple[str, list[list[str]]]:
    """Return a name, and five captions of each of 5,000 images: of COCO's val2017 below CLOSE_TRANSFER_DATA, else Picturebook's."""
    path = Path(os.environ.get("CLOSE_TRANSFER_DATA", ""), "coco", "captions_val2017.json.gz")
    if not path.is_file():
        return "Picturebook", [[caption.text for caption in captions(scene)][:5] for scene in scenes("train", 5000)]
    by_image: dict[int, list[str]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for annotation in json.load(file)["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation["caption"])
    return "COCO val2017", [group[:5] for group in by_image.values()][:5000]


def wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def name_device(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def describe_machine(device: str) -> dict[str, Any]:
    """Return what a reader of the results must know; `load` is the mean number of busy programs of the last minute."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {"device": name_device(device), "cores": os.cpu_count(), "load": os.getloadavg()[0], **versions}


def measure_peak_memory(device: str) -> int:
    """Return the largest number of bytes that the process, on a GPU its tensors, took so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def summarize(rounds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the median, the lowest and the highest value of each name."""
    values = {name: [one[name] for one in rounds] for name in rounds[0]}
    return {
        name: {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}
        for name, each in values.items()
    }


def print_summary(summary: Mapping[str, Mapping[str, float]]) -> None:
    for name, row in summary.items():
        print(f"{name:28} {row['median']:.4g}  (from {row['lowest']:.4g} to {row['highest']:.4g})")


def write_result(output: Path, result: Mapping[str, Any]) -> None:
    """Write the results as JSON."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, dict(result))
    print(f"written to {output}")
